"""Display of ``darc watch``: problems, observations, nodes, triggers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain

from rich.text import Text

from darc.cli.terminal_text import clock, count, shown, size, span, utc
from darc.config.records import Struct, replace
from darc.model.overview import NodeOverview, ServiceOverview
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.page import page_view as view
from darc.monitor.problems import Problem, numbers

#: For how long after it was logged an error is shown (s).
ERROR_SECONDS = 3600.0
BAR = 12
#: Signs and colours; the text says the same without colours.
_SIGNS = {
    view.GOOD: ("✓", "green"),
    view.BAD: ("✗", "bold red"),
    view.CHANGING: ("…", "yellow"),
    view.UNKNOWN: ("?", "bright_black"),
}
_DIM = "bright_black"
_HEAD = (
    f"  {'service':<18} {'state':<14} {'since':>5} {'restarts':>8} {'memory':>6} {'CPU':>5}"
    f" {'queue':>5} {'age':>5}"
)
Lines = list[Text]


class WatchSnapshot(Struct, frozen=True):
    """State of the cluster at a moment."""

    cluster: ClusterStatus
    problems: tuple[Problem, ...]


class _Detail(Struct, frozen=True):
    """Level of detail.

    :param errors: show the last error of each service
    :param triggers: show triggers
    :param texts: show texts of problems in full; else one line
    :param good: show services of nodes without problems
    :param running: show running services of nodes with problems; else their number
    :param services: show services of nodes with problems at all
    """

    errors: bool = True
    triggers: bool = True
    texts: bool = True
    good: bool = True
    running: bool = True
    services: bool = True


#: Details in the order in which they are dropped for lack of room.
_LESS = ("errors", "triggers", "texts", "good", "running", "services")


def page(snapshot: WatchSnapshot, width: int, height: int | None) -> Lines:
    """Return the page, in lines of at most `width` characters, unless a command is longer.

    :param height: available lines; if too few, details are dropped first, then whole items;
        problems and services that are not running are kept longest; None: no limit
    """
    detail = _Detail()
    lines = list(_page(snapshot, width, detail))
    if height is not None:
        for name in _LESS:
            if len(lines) <= height:
                break
            detail = replace(detail, **{name: False})
            lines = list(_page(snapshot, width, detail))
        if len(lines) > height:
            lines = _cut(snapshot, width, height)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _page(snapshot: WatchSnapshot, width: int, detail: _Detail) -> Iterator[Text]:
    yield _headline(snapshot)
    for problem in snapshot.problems:
        yield from _problem(problem, snapshot.cluster.time, width, texts=detail.texts)
    yield from _observations(snapshot.cluster)
    yield from chain.from_iterable(_nodes(snapshot, detail))
    if detail.triggers:
        yield from _triggers(snapshot.cluster)


_ORDER = (view.BAD, view.CHANGING, view.UNKNOWN, view.GOOD)


def _nodes(snapshot: WatchSnapshot, detail: _Detail) -> list[Lines]:
    """Return the lines of each node: nodes with problems first, then unreachable ones."""
    cluster = snapshot.cluster
    rows = view.node_rows(cluster, snapshot.problems)
    order = sorted(cluster.nodes, key=lambda node: _ORDER.index(rows[node.name].verdict))
    found = []
    for node in order:
        row = rows[node.name]
        wanted = detail.good if row.verdict == view.GOOD else detail.services
        is_short = node.reached and not wanted
        lines = [_summary(node, row)] if is_short else _node(node, row, cluster.time, detail)
        found.append(list(lines))
    return found


def _cut(snapshot: WatchSnapshot, width: int, height: int) -> Lines:
    """Return as many problems and nodes as fit, one line each."""
    least = _Detail(*(False for _ in _LESS))
    nodes = _nodes(snapshot, least)
    top = [_headline(snapshot)]
    # Problems with their commands are more important than nodes.
    room = max(height - len(top) - min(len(nodes), height // 3), 0)
    problems = [
        list(_problem(one, snapshot.cluster.time, width, texts=False)) for one in snapshot.problems
    ]
    top += _as_many(problems, room, "problems")
    room = height - len(top)
    observations = list(_observations(snapshot.cluster))
    if len(observations) + len(nodes) <= room:
        top += observations
    return [*top, *_as_many(nodes, height - len(top), "nodes")]


def _as_many(parts: Sequence[Lines], room: int, what: str) -> Lines:
    """Return the first parts that fit, at least one, and the number of the others."""
    found: Lines = []
    for place, part in enumerate(parts):
        rest = len(parts) - place
        if found and len(found) + len(part) + (rest > 1) > room:
            return [*found, Text(f"… {rest} more {what}: darc watch --once", _DIM)]
        found += part
    return found


def _headline(snapshot: WatchSnapshot) -> Text:
    nodes, problems = snapshot.cluster.nodes, snapshot.problems
    answer = sum(node.reached for node in nodes)
    text = Text(f"DARC  {utc(snapshot.cluster.time)} UTC  ", "bold")
    text.append(f"{answer} of {len(nodes)} node{'s' * (len(nodes) != 1)} answer  ", "")
    if any(problem.grave for problem in problems):
        text.append(f"✗ {numbers(problems)}", "bold red")
    elif problems:
        text.append(f"! {numbers(problems)}", "yellow")
    elif all(node.reached for node in nodes):
        text.append("✓ no problems", "green")
    return text


def _problem(problem: Problem, now: float, width: int, *, texts: bool) -> Iterator[Text]:
    sign, style = ("✗", "bold red") if problem.grave else ("!", "yellow")
    ago = "" if problem.since is None else f"  since {span(now - problem.since)}"
    room = max(20, width - 4)
    first, *rest = textwrap.wrap(f"{shown(problem.title)}{ago}", room)
    yield Text(f"{sign} {first}", style)
    yield from (Text(f"  {line}", style) for line in rest)
    said = textwrap.wrap(shown(problem.text), room)
    if not texts and len(said) > 1:  # the end of an error has the reason
        said = [f"… {shown(problem.text)[-(room - 2) :]}"]
    yield from (Text(f"    {line}") for line in said)
    for line in _command(f"    type: {shown(problem.command)}", width):
        yield Text(line, "cyan")


def _command(command: str, width: int) -> list[str]:
    """Yield a command in lines that can be pasted into a shell: continuations have no margin."""
    lines, line, is_quoted, space = [], "", False, 0
    for letter in command:
        if len(line) >= width - 2:
            if is_quoted:
                lines.append(f"{line}'\\")
                line, space = "'", 0
            else:
                cut = space or len(line)
                lines.append(f"{line[:cut]}\\")
                line, space = line[cut:], 0
        line += letter
        is_quoted ^= letter == "'"
        if letter == " " and not is_quoted and line.strip() not in ("", "type:"):
            space = len(line)
    return [*lines, line]


def _observations(cluster: ClusterStatus) -> Iterator[Text]:
    for one in view.observations(cluster):
        length = max(1.0, one.end - one.start)
        done = min(1.0, max(0.0, (cluster.time - one.start) / length))
        full = round(BAR * done)
        text = Text("observation ", "bold")
        text.append(f"{shown(one.id)} {shown(one.source)}  {one.state}  ", "")
        if one.state == "running":
            bar = "█" * full + "░" * (BAR - full)
            text.append(f"{bar} {100 * done:.0f} % of {span(length)}", "")
        elif one.state == "pending":
            text.append(f"in {span(one.start - cluster.time)}, for {span(length)}", "")
        elif one.waits_for:
            text.append(f"waits for {shown(one.waits_for)}", "")
        if one.nodes > 1:
            text.append(f"  {one.nodes} nodes", "bright_black")
        yield text
        if one.others:
            yield Text(f"    but {shown(one.others)}", "yellow")


def _title(node: NodeStatus, row: view.NodeRow) -> Text:
    sign, style = _SIGNS[row.verdict]
    return Text.assemble((f"{sign} {shown(node.name)}", f"bold {style}"), f"  {row.summary}")


def _summary(node: NodeStatus, row: view.NodeRow) -> Text:
    text = _title(node, row)
    if node.overview:
        services = node.overview.services
        memory, cpu = sum(one.memory for one in services), sum(one.cpu for one in services)
        waiting = sum(one.queue for one in services)
        text.append(f"  {size(memory)} memory, {cpu:.0f} % CPU, {count(waiting)} in queues")
    return text


def _node(node: NodeStatus, row: view.NodeRow, now: float, detail: _Detail) -> Iterator[Text]:
    overview = node.overview
    if not node.reached:
        since = f" since {span(now - row.since)}" if row.since else ""
        said = f"? {shown(node.name)}  {row.summary}{since}: {shown(row.note)}"
        yield Text(said, _DIM)
    elif overview is None:
        yield _title(node, row).append(f"  {shown(node.reason)}")
        yield from (Text(f"  {shown(cell.service):<18} {cell.state}") for cell in row.cells if cell)
    else:
        text = _title(node, row)
        text.append(
            f"  {overview.role}, {shown(overview.mode)}, DARC {shown(overview.version)}, up "
        )
        yield text.append(span(overview.time - overview.started))
        yield Text(_HEAD, _DIM)
        yield from _services(overview, row, overview.time + now - node.heard, detail)


def _services(
    overview: NodeOverview, row: view.NodeRow, now: float, detail: _Detail
) -> Iterator[Text]:
    """Yield the lines of a node.

    :param now: time by the node's clock, Unix s
    """
    left_out = 0
    for cell, service in zip(row.cells, overview.services, strict=True):
        if cell is not None and cell.verdict == view.GOOD and not detail.running:
            left_out += 1
            continue
        if cell is not None:
            yield _service(cell, service, now)
        error = service.last_error
        if detail.errors and error and error.time is not None and now - error.time < ERROR_SECONDS:
            yield Text(f"    last error {clock(error.time)} {shown(error.text)}")
    if left_out:
        yield Text(f"  … {left_out} services that run: darc watch --once", _DIM)


def _service(cell: view.ServiceCell, service: ServiceOverview, now: float) -> Text:
    sign, style = _SIGNS[cell.verdict]
    since = service.died if cell.state == "died" else service.since
    text = Text(f"  {shown(service.name)[:18]:<18} ")
    text.append(f"{f'{sign} {cell.state}':<14}", style)
    lasts = "-" if since is None else span(now - since)
    text.append(f" {lasts:>5} {count(service.restarts):>8}")
    memory = size(service.memory) if service.pid else "-"
    cpu = f"{service.cpu:.0f}%" if service.pid else "-"
    age = "-" if service.oldest is None else span(now - service.oldest)
    return text.append(f" {memory:>6} {cpu:>5} {count(service.queue):>5} {age:>5}")


def _triggers(cluster: ClusterStatus) -> Iterator[Text]:
    for one in view.times(cluster):
        outcomes = ", ".join(f"{count(n)} {shown(what)}" for what, n in one.outcomes.items())
        text = Text("triggers ", "bold").append(f"{shown(one.service)}: {outcomes or 'none'}", "")
        yield text
    last = [
        (service.last_trigger.time - node.clock, node.name, service)
        for node in cluster.nodes
        if node.overview
        for service in node.overview.services
        if service.last_trigger and service.last_trigger.time is not None
    ]
    if last:
        moment, name, service = max(last, key=lambda one: one[0])
        said = service.last_trigger
        assert said
        text = Text("last ", "bold")
        text.append(f"{clock(moment)} {shown(name)} {service.name}: {shown(said.text)}", "")
        yield text
