"""Runs a word of ``darc``, and ends it as programs at a terminal end."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

from darc.config.config import Config, ConfigError
from darc.node.node_config import load_node_config
from darc.node.node_probe import of_running_node
from darc.runtime.program import as_program, is_of_output


class TerminalError(Exception):
    """What a person is told in words; the exit status is 1."""


def run_word(word: str, arguments: Sequence[str]) -> int:
    """Run a word; returns the exit status."""
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"darc.cli.{word}").main
    return guarded(main, arguments)


@as_program
def guarded(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a program; what a person is to be told is no reason for a traceback."""
    try:
        return main(arguments)
    except (TerminalError, ConfigError, OSError) as error:
        if is_of_output(error):
            raise
        print(f"darc: {error}", file=sys.stderr)
        return 1


def load() -> Config:
    """The configuration of this host's node, whether it runs or not; the last good one if need be.

    :raises ConfigError: it is wrong
    :raises OSError: it cannot be read
    """
    return of_running_node(load_node_config())
