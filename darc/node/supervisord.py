"""supervisord of a node: ``python -P -m darc.node.supervisord -c FILE``.

It is supervisor's, but for two things. It has loaded what nearly every program of DARC needs, and
runs such a program in the process that it has forked for it, where supervisord calls ``execve``.
The programs then share that memory, and are there sooner. Where a new interpreter could be another
than the forked one, ``execve`` is called: ``LoadedModules`` decides that.

And a program starts without its log where that cannot be written; supervisord would not start it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import supervisor.dispatchers
import supervisor.supervisord
from supervisor.dispatchers import POutputDispatcher
from supervisor.options import ServerOptions

from darc.config.config import ConfigError
from darc.node.node_config import load_node_config
from darc.runtime.process_start import started_at

#: What nearly every program of a node imports.
SHARED = ("darc.services.base.trigger_consumer",)
#: What supervisord and our sections set for a program, which is read once it runs.
_FOR_PROGRAMS = ("SUPERVISOR_", "DARC_LOG_FORMAT")


class LoadedModules:
    """The modules that this process has loaded, and whether a new one would load the same.

    :param begun: when this process began (Unix s)
    """

    def __init__(self, begun: float) -> None:
        modules = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
        files = [path for path in {*modules, sys.executable, *_mapped()} if path]
        # Where another module of the same name, or one that is asked for, may come to be.
        directories = [path for path in {*sys.path, *sys.path_importer_cache} if path not in files]
        identities = [_identity(path) for path in files]
        # One that was written since may have been loaded as it was before.
        self._is_known = not _has_own_start_code() and all(
            identity is not None and identity[-1] < begun * 1e9 for identity in identities
        )
        # One text each: a fork gets pages of its own of all that it looks at.
        self._paths = "\0".join([*files, *directories])
        self._identities = repr(identities + [_identity(path) for path in directories])
        self._environment = _environment_at_start(os.environ)

    def are_current(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter that starts now, in an environment, would load the same."""
        return (
            self._is_known
            and _environment_at_start(environment) == self._environment
            and repr([_identity(path) for path in self._paths.split("\0")]) == self._identities
        )


def _identity(path: str) -> tuple[int, ...] | None:
    """Return what differs where a file was replaced or changed, the last change last (ns).

    None: it cannot be read. It is opened as over NFS that alone asks the server.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _mapped() -> set[str]:
    """Return the files that are mapped: libraries of the system, too; see proc_pid_maps(5)."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        texts = [line.rstrip("\n").split(maxsplit=5)[5:] for line in maps]
    return {path for text in texts for path in text if path.startswith("/")}


def _environment_at_start(environment: Mapping[str, str]) -> str:
    """Return what an interpreter or a library may read as it starts."""
    return repr(sorted(one for one in environment.items() if not one[0].startswith(_FOR_PROGRAMS)))


def _has_own_start_code() -> bool:
    """Whether somebody has code run at each start of Python, beside what the system may have."""
    of_system = os.path.dirname(os.__file__)  # noqa: PTH120
    found = (sys.modules.get(name) for name in ("sitecustomize", "usercustomize"))
    paths = [getattr(module, "__file__", None) or "" for module in found if module]
    return any(os.path.dirname(path) != of_system for path in paths)  # noqa: PTH120


class NodeOptions(ServerOptions):  # type: ignore[misc]
    """What supervisord asks of the system."""

    modules: LoadedModules
    #: Standard streams as Python has opened them; supervisord replaces them.
    streams: Mapping[str, TextIO]

    def daemonize(self) -> None:
        """Go on in the background; what was printed until now is not for the logs of programs."""
        sys.stdout.flush()
        super().daemonize()

    def fork(self) -> int:
        """Fork; the new process ends by a signal from the start; supervisord only notes it."""
        # A signal that comes before the new process has its own handlers waits for them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                for number in signal.valid_signals():
                    if callable(signal.getsignal(number)):
                        signal.signal(number, signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Run a program in this process, which was forked for it."""
        module = _module(filename, argv)
        if module and self.modules.are_current(env) and _show_as(argv):
            _become(module, argv, env, self.streams)
        super().execve(filename, argv, env)


class ProgramOutput(POutputDispatcher):  # type: ignore[misc]
    """What a program prints, on its way to its log."""

    def _init_normallog(self) -> None:
        """Open the log, in a directory that may have been removed; without it, drop what comes."""
        program = self.process.config
        path = getattr(program, f"{self.channel}_logfile")
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            super()._init_normallog()
        except OSError as error:
            program.options.logger.critical(
                f"{program.name} runs without its log: {path}: {error.strerror}"
            )


def _module(filename: str, argv: Sequence[str]) -> str:
    """Return the module that a command of DARC's sections runs; empty: it is another command."""
    is_ours = filename == argv[0] == sys.executable and [*argv[1:-1]] == ["-P", "-m"]
    return argv[-1] if is_ours and argv[-1].startswith("darc.") else ""


def _show_as(argv: Sequence[str]) -> bool:
    """Have ps and /proc show a command line for this process; return whether they do.

    They show the memory into which the kernel has put the first one: proc_pid_stat(5), arg_start.
    """
    words = b"".join(os.fsencode(word) + b"\0" for word in argv)
    try:
        with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123
            fields = stat.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        if len(words) > end - start:
            return False
        with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
            memory.seek(start)
            memory.write(words.ljust(end - start, b"\0"))
    except OSError:
        return False
    return True


def _become(
    module: str, argv: Sequence[str], env: Mapping[str, str], streams: Mapping[str, TextIO]
) -> NoReturn:
    """Run a module as ``python -m`` does, and end."""
    # Files and sockets of supervisord are not to be closed: their numbers are ours now.
    gc.freeze()
    _kept = sys.stdin, sys.stdout, sys.stderr
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    sys.argv, sys.orig_argv = ["-m"], [*argv]
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    status = 1
    try:
        status = _run(module)
        # As multiprocessing ends what it has forked.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status)


def _run(module: str) -> int:
    """Run a module; return its exit status, or that of a signal as a negative number."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:  # whatever it is, it is said as Python says it
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def main() -> None:
    """Run supervisord."""
    for name in SHARED:
        importlib.import_module(name)
    # For what it imports and remembers: each program reads the files again.
    with contextlib.suppress(ConfigError, OSError):
        load_node_config()
    NodeOptions.modules = LoadedModules(started_at(os.getpid()) or 0.0)
    NodeOptions.streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    supervisor.supervisord.ServerOptions = NodeOptions
    supervisor.dispatchers.POutputDispatcher = ProgramOutput
    supervisor.supervisord.main()


if __name__ == "__main__":
    main()
