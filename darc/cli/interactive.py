"""Running the interactive commands of ``darc``, with their exit status and errors."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from darc.config.config import Config, ConfigError
from darc.node.node_config import load_node_config
from darc.node.node_probe import with_running_run_dir
from darc.runtime.program import as_program, is_output_error

#: Modules that have not the name of their command, which another module has.
MODULES = {"alerts": "alerts_word"}


class TerminalError(Exception):
    """An error that is printed without a traceback; the exit status is 1."""


def module_of(word: str) -> ModuleType:
    """Return the module of an interactive command."""
    return importlib.import_module(f"darc.cli.{MODULES.get(word, word)}")


def word_parser(word: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return the parser of an interactive command, without its arguments."""
    return argparse.ArgumentParser(
        prog=f"darc {word}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_word(word: str, arguments: Sequence[str]) -> int:
    """Run an interactive command; return the exit status."""
    main: Callable[[Sequence[str]], int] = module_of(word).main
    return guarded(main, arguments)


@as_program
def guarded(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; print expected errors without a traceback."""
    try:
        return main(arguments)
    except (TerminalError, ConfigError, OSError) as error:
        if is_output_error(error):
            raise
        print(f"darc: {error}", file=sys.stderr)
        return 1


def load() -> Config:
    """Return the configuration of this host's node, or the last good one if it is invalid.

    :raises ConfigError: it is invalid, and there is no earlier good one
    :raises OSError: it cannot be read
    """
    return with_running_run_dir(load_node_config())
