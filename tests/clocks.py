"""A time of day of their own for the processes of a node: a preloaded library adds an offset.

Elapsed times are those of the kernel, as on a machine whose clock is set. (libfaketime does the
same, but Python cannot sleep with the version that distributions have.)
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

OFFSET = "DARC_TEST_CLOCK"
SOURCE = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const long *offset; /* s */

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("DARC_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) offset = found;
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, moment);
    if (clock == CLOCK_REALTIME && result == 0 && offset) moment->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *moment, void *zone) {
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment) *moment = now.tv_sec;
    return now.tv_sec;
}
"""


class SetClock:
    """The clock of all processes that have its environment."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: no clock can be set for a node alone")
        self._path = directory / "clock"
        self.set(0)
        source, library = directory / "clock.c", directory / "clock.so"
        source.write_text(SOURCE)
        command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), OFFSET: str(self._path)}

    def set(self, ahead: int) -> None:
        """Have it so many seconds ahead of the machine's."""
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("l", ahead))
