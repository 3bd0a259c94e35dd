"""``darc doctor``: checks of what a node needs, with remedies. It changes nothing."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from darc.cli import machine_checks, node_checks, outside_checks
from darc.cli.check_results import CHECK_SECONDS, Check, CheckedNode, NamedCheckResult, examine
from darc.cli.interactive import TerminalError, guarded, word_parser
from darc.cli.remote_commands import HERE, chosen_hosts, gather, is_here, to_line
from darc.cli.terminal_text import shown
from darc.cluster.node_orders import role_of
from darc.config.config import ConfigError
from darc.config.records import convert
from darc.config.typed import to_plain
from darc.node.node_config import load_config
from darc.node.node_probe import with_running_run_dir
from darc.runtime.check_result import Verdict
from darc.runtime.paths import hostname

CHECKS = (
    Check("Python", machine_checks.python, needs_config=False),
    Check("packages", machine_checks.packages, needs_config=False),
    Check("configuration", machine_checks.configuration, needs_config=False),
    Check("place", machine_checks.place),
    Check("disks", machine_checks.disks),
    Check("inotify", machine_checks.inotify, needs_config=False),
    Check("permissions", machine_checks.permissions),
    Check("secret", machine_checks.secret),
    Check("clock", machine_checks.clock, needs_config=False),
    Check("ports", node_checks.ports),
    Check("processes", node_checks.processes),
    Check("node", node_checks.node),
    Check("journal", node_checks.journal),
    Check("cluster", node_checks.cluster),
    *outside_checks.outside_checks(),
    Check("e-mail", outside_checks.mail),
    Check("alarms", outside_checks.alarms),
)
#: Signs and colours; the text says the same without colours.
_SIGNS = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.WRONG: ("✗", "bold red"),
}
EXAMPLES = """\
examples:
  darc doctor
  darc doctor --host all       on every node of the cluster, by ssh
  darc doctor --json

The exit status is 0 if no check is wrong; warnings do not count.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "doctor",
        "Check what a node needs, running or not, and say what to do. Nothing is"
        " changed, and neither triggers nor e-mails are sent.",
        EXAMPLES,
    )
    parser.add_argument("--host", default=HERE[0], metavar="H", help="a node, or all")
    parser.add_argument("--json", action="store_true", help="print what is found as JSON")
    parser.add_argument("--for-another", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the checks; return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        # The configuration that a start would read, not the last good one.
        checked = CheckedNode(with_running_run_dir(load_config()))
    except (ConfigError, OSError) as error:
        checked = CheckedNode(None, error)
    if options.for_another:
        findings = examine(checked, CHECKS, CHECK_SECONDS)
        print(to_line({"findings": [to_plain(one) for one in findings]}))
        return 0
    if not checked.is_readable:
        if options.host not in HERE:
            raise TerminalError(f"the nodes of the cluster are unknown:\n{checked.broken}")
        found = {hostname(): examine(checked, CHECKS, CHECK_SECONDS)}
    else:
        found = _everywhere(checked, options.host)
    if options.json:
        print(json.dumps({host: [to_plain(one) for one in some] for host, some in found.items()}))
    else:
        _print(found)
    everything = [one for some in found.values() for one in some]
    return 1 if any(one.verdict is Verdict.WRONG for one in everything) else 0


def _everywhere(checked: CheckedNode, wanted: str) -> dict[str, list[NamedCheckResult]]:
    config = checked.config
    hosts = chosen_hosts(config, wanted)
    words = ["--for-another"]
    answers, reasons = gather(config, hosts, "doctor", words, CHECK_SECONDS + 5.0, _findings)
    found = {}
    for host in hosts:
        if is_here(config, host):
            found[host] = examine(checked, CHECKS, CHECK_SECONDS)
        elif host in reasons:
            text = f"{role_of(config, host)} not reached: {reasons[host]}"
            remedy = f"ssh -o BatchMode=yes {host} true"
            found[host] = [NamedCheckResult("ssh", Verdict.WRONG, text, remedy)]
        else:
            reached = NamedCheckResult("ssh", Verdict.OK, "reached", "")
            found[host] = [reached, *answers[host]]
    return found


def _findings(plain: dict[str, Any]) -> list[NamedCheckResult]:
    return convert(plain["findings"], list[NamedCheckResult])


def _print(found: dict[str, list[NamedCheckResult]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    for host, findings in found.items():
        if len(found) > 1:
            console.print(Text(shown(host), "bold"))
        for one in findings:
            sign, style = _SIGNS[one.verdict]
            first, *rest = textwrap.wrap(shown(one.text), max(30, console.width - 24)) or [""]
            text = Text.assemble((f"{sign} {one.verdict:<7}", style), f" {one.check:<13} ", first)
            console.print(text, soft_wrap=True)
            for more in rest:
                console.print(Text(f"{'':24}{more}"), soft_wrap=True)
            if one.remedy and one.verdict is not Verdict.OK:
                # Not wrapped, so that it can be copied.
                console.print(Text(f"{'':24}→ {shown(one.remedy)}", "cyan"), soft_wrap=True)
    everything = [one for some in found.values() for one in some]
    n_wrong = sum(one.verdict is Verdict.WRONG for one in everything)
    n_warnings = sum(one.verdict is Verdict.WARNING for one in everything)
    console.print(f"{n_wrong} wrong, {n_warnings} warnings, {len(everything)} looked at")


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
