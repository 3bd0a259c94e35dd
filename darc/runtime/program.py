"""Common behaviour of DARC's programs: exit status, output errors, option types."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import math
import os
import sys
from collections.abc import Callable

# Not typing's, which would cost every command a tenth of its time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ParamSpec

    P = ParamSpec("P")

#: Exit status of a program that was ended by SIGINT or SIGPIPE, as in the shell.
INTERRUPTED, BROKEN_PIPE = 130, 141
#: Errors of the output: a closed pipe, a full or failing disk.
_NOT_TAKEN = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: Largest value of an option in seconds: a day.
LONGEST = 86_400.0


def as_program(main: Callable[P, int]) -> Callable[P, int]:
    """Wrap a program's main function to handle signals and errors of its output.

    A closed pipe ends it quietly, a full disk with one line; characters that the terminal lacks are
    escaped.
    """

    @functools.wraps(main)
    def run(*arguments: P.args, **keys: P.kwargs) -> int:
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return main(*arguments, **keys)
            finally:  # argparse may have printed before it exits
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            return BROKEN_PIPE
        except KeyboardInterrupt:
            return INTERRUPTED
        except OSError as error:
            if not is_output_error(error):
                raise
            _drop_output()
            with contextlib.suppress(OSError):  # standard error may fail as well
                print(f"{_name()}: the output cannot be written: {error}", file=sys.stderr)
            return 1

    return run


def is_output_error(error: Exception) -> bool:
    """Whether an error concerns the program's output, not a (named) file."""
    return isinstance(error, OSError) and error.errno in _NOT_TAKEN and error.filename is None


def _name() -> str:
    return os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is not worth its import here


def _open_closed_streams() -> None:
    """Open closed standard streams (`darc … >&-`), else the next opened file would become one.

    Child processes inherit them: a node would write its log into a socket.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _drop_output() -> None:
    # Python would flush the rest at exit, and report an error.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def number(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type: a number from low to high."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r:.60}: a number from {low:g} to {high:g}")
        return value

    return convert


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number from low to high."""

    def convert(text: str) -> int:
        plain = text.removeprefix("-")
        is_whole = len(text) <= 20 and plain.isascii() and plain.isdecimal()
        if not (is_whole and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r:.60}: a whole number from {low} to {high}")
        return int(text)

    return convert


def if_numbers(text: str) -> tuple[int, ...]:
    """Parse a list of IFs such as 1,2; return their indices from 0, ascending."""
    number = whole(1, 16)
    return tuple(sorted({number(word) - 1 for word in text.split(",")}))


#: Types of options: seconds, and a port.
seconds = number(0.001, LONGEST)
port = whole(1, 65535)
