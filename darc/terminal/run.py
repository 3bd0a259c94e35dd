"""Runs a word of ``darc``, and ends it as programs at a terminal end."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from darc.model.config import Config, ConfigError
from darc.node.configuration import load_node_config
from darc.node.look import of_running_node

#: As the shell has it of a program that SIGINT or SIGPIPE has ended.
INTERRUPTED, BROKEN_PIPE = 130, 141


class TerminalError(Exception):
    """What a person is told in words; the exit status is 1."""


def run_word(word: str, arguments: Sequence[str]) -> int:
    """Run a word; returns the exit status."""
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"darc.terminal.{word}").main
    return guarded(main, arguments)


def guarded(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a program; nobody who listens any more, and Ctrl-C, are no reason for a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Where the terminal has no such letter, it is spelt out.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try to write what is left at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (TerminalError, ConfigError, OSError) as error:
        print(f"darc: {error}", file=sys.stderr)
        return 1
    return status


def load() -> Config:
    """The configuration of this host's node, whether it runs or not; the last good one if need be.

    :raises ConfigError: it is wrong
    :raises OSError: it cannot be read
    """
    return of_running_node(load_node_config())
