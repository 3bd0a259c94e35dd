"""What every program of DARC does at its edges, whoever starts it and wherever its words go."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import math
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

#: As the shell has it of a program that SIGINT or SIGPIPE has ended.
INTERRUPTED, BROKEN_PIPE = 130, 141
#: What output meets: nobody who listens, a disk that is full or broken.
_NOT_TAKEN = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: The longest that an option may have something wait, s: a day.
LONGEST = 86_400.0


def as_program(main: Callable[P, int]) -> Callable[P, int]:
    """Have a program end as others do: one that nobody listens to any more, quietly.

    What the terminal has no letters for is spelt out; what a full disk does not take is one line.
    """

    @functools.wraps(main)
    def run(*arguments: P.args, **keys: P.kwargs) -> int:
        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return main(*arguments, **keys)
            finally:  # argparse has printed, too, when it exits
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            return BROKEN_PIPE
        except KeyboardInterrupt:
            return INTERRUPTED
        except OSError as error:
            if not is_of_output(error):
                raise
            _drop_output()
            with contextlib.suppress(OSError):  # nor may that be
                print(f"{_name()}: the output cannot be written: {error}", file=sys.stderr)
            return 1

    return run


def is_of_output(error: Exception) -> bool:
    """Whether this is what the program's own output met: of a file it would be named."""
    return isinstance(error, OSError) and error.errno in _NOT_TAKEN and error.filename is None


def _name() -> str:
    return os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is not worth its import here


def _open_what_is_closed() -> None:
    """Of the three standard streams (`darc … >&-`): what is opened next would be taken for one.

    A program that is started gets them, too: a node would write its sockets full of log.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _drop_output() -> None:
    # Python would try to write what is left at its end, and complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def number(low: float, high: float) -> Callable[[str], float]:
    """What argparse makes of an option that is a number from low to high."""

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
    """Likewise of one that is a whole number."""

    def convert(text: str) -> int:
        plain = text.removeprefix("-")
        if len(text) > 20 or not (plain.isascii() and plain.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r:.60}: a whole number from {low} to {high}")
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r:.60}: a whole number from {low} to {high}")
        return value

    return convert


def if_numbers(text: str) -> tuple[int, ...]:
    """Likewise of IFs, as 1,2: their places from 0, ascending."""
    number = whole(1, 16)
    return tuple(sorted({number(word) - 1 for word in text.split(",")}))


#: An option in seconds, and one that is a port.
seconds = number(0.001, LONGEST)
port = whole(1, 65535)
