"""``darc watch``: this node or the cluster, live."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from darc.cli.interactive import TerminalError, load, word_parser
from darc.cli.nodes_asked import targets
from darc.cli.watch_view import WatchSnapshot, page
from darc.config.config import Config
from darc.config.settings import StatusWebsiteSettings
from darc.monitor.cluster_watch import ClusterWatch, NodeTarget, collect
from darc.monitor.findings import RuleContext
from darc.monitor.problems import find_problems

#: Interval of redrawing ages, and largest interval of new numbers from the nodes (s).
SHOW_SECONDS = 1.0
NUMBERS_SECONDS = 3.0
#: Width without a terminal, characters.
WIDTH = 80
EXAMPLES = """\
examples:
  darc watch
  darc watch --host all
  darc watch --once | less
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "watch", "Show this node live; on a cluster's master node all nodes. q ends it.", EXAMPLES
    )
    parser.add_argument("--host", metavar="H", help="a node, or all; default: see above")
    parser.add_argument("--once", action="store_true", help="show all of it once, and end")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Show the cluster; return the exit status."""
    options = make_parser().parse_args(arguments)
    config = load()
    asked = targets(config, options.host)
    if options.once or not sys.stdout.isatty() or Console().is_dumb_terminal:
        _print_once(config, asked)
        return 0
    if not sys.stdin.isatty():
        raise TerminalError("standard input is not a terminal: darc watch --once shows it once")
    _Screen(config, asked).run()
    return 0


def _print_once(config: Config, asked: Sequence[NodeTarget]) -> None:
    cluster = collect(asked, config.of(StatusWebsiteSettings).timeout)
    snapshot = WatchSnapshot(cluster, find_problems(cluster, RuleContext.of(config)))
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    for line in page(snapshot, console.width, None):
        console.print(line, no_wrap=True, crop=False, overflow="ignore")


class _Screen:
    """The terminal during ``darc watch``."""

    def __init__(self, config: Config, asked: Sequence[NodeTarget]) -> None:
        self._context = RuleContext.of(config)
        self._watch = ClusterWatch(asked, NUMBERS_SECONDS, config.of(StatusWebsiteSettings).timeout)
        self._watch.on_change = self._wake
        self._console = Console(highlight=False)
        self._wake_out, self._wake_in = os.pipe()
        for descriptor in (self._wake_out, self._wake_in):
            os.set_blocking(descriptor, False)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a wake-up is pending already
            os.write(self._wake_in, b".")

    def run(self) -> None:
        """Show the state until q or Ctrl-C."""
        self._watch.start()
        try:
            with contextlib.suppress(KeyboardInterrupt), _keys_at_once(), self._signals():
                live = Live(console=self._console, screen=True, auto_refresh=False)
                with live:
                    while not self._is_over():
                        live.update(self._page(), refresh=True)
        finally:
            self._watch.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def resized(number: int, frame: FrameType | None) -> None:
            self._wake()

        def ended(number: int, frame: FrameType | None) -> None:
            raise SystemExit(128 + number)  # through the code that restores the terminal

        wanted: dict[int, Callable[[int, FrameType | None], None] | signal.Handlers] = {
            signal.SIGWINCH: resized,
            signal.SIGTERM: ended,
            signal.SIGHUP: ended,
            # In the background it would leave its screen behind.
            signal.SIGTSTP: signal.SIG_IGN,
        }
        before = {number: signal.signal(number, what) for number, what in wanted.items()}
        try:
            yield
        finally:
            for number, what in before.items():
                signal.signal(number, what)

    def _is_over(self) -> bool:
        """Wait for a change, or a key."""
        ready, _, _ = select.select([0, self._wake_out], [], [], SHOW_SECONDS)
        if self._wake_out in ready:
            os.read(self._wake_out, 65536)
        if 0 in ready:
            keys = os.read(0, 1024)
            return not keys or b"q" in keys.lower() or b"\x03" in keys
        return False

    def _page(self) -> Group:
        cluster = self._watch.status()
        snapshot = WatchSnapshot(cluster, find_problems(cluster, self._context))
        width, height = self._console.size
        lines = page(snapshot, width, height - 1)[: height - 1]
        return Group(*lines, Text("q ends", "bright_black"))


@contextlib.contextmanager
def _keys_at_once() -> Iterator[None]:
    """Read keys without echo or line buffering; restore the terminal afterwards."""
    before = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
