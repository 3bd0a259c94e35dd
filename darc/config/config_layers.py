"""Layers of configuration: placeholders, merging, host ranges and unknown keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from darc.config.typed import Unknown, Value

_OBSOLETE = {
    "master_commands",
    "service_commands",
    "scavenger_interval",
    "sb_generator",
    "reprocessing_delay",
    "waterfall_sb",
    "plot_script",
}
_RANGE = re.compile(r"([^\[\]]*)\[([\d,-]+)\]([^\[\]]*)")
_HOST = re.compile(r"[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?")
_MAX_HOSTS = 10_000


def fill_placeholders(value: Value, places: Mapping[str, str]) -> Value:
    """Replace `{name}` in every text of the tree, for each name in `places`."""
    data = value.data
    if isinstance(data, str):
        for name, text in places.items():
            data = data.replace("{" + name + "}", text)
    elif isinstance(data, list):
        data = [fill_placeholders(entry, places) for entry in data]
    elif isinstance(data, dict):
        data = {key: fill_placeholders(entry, places) for key, entry in data.items()}
    return Value(data, value.file, value.line)


def merge(below: Value, above: Value) -> Value:
    """Lay one tree over another: mappings merge, everything else replaces.

    An empty section (no keys, or all of them commented out) leaves the one below unchanged.
    """
    if not isinstance(below.data, dict) or not isinstance(above.data, dict | None):
        return above
    if above.data is None:
        return below
    merged = dict(below.data)
    for key, entry in above.data.items():
        merged[key] = merge(merged[key], entry) if key in merged else entry
    return Value(merged, above.file, above.line)


def value_at(tree: Value, *path: str) -> Value:
    """Return the value at a path; an empty mapping where it is missing."""
    for name in path:
        data = tree.data if isinstance(tree.data, dict) else {}
        tree = data.get(name, Value({}, tree.file, tree.line))
    return tree


def expand_hosts(entries: Sequence[str]) -> tuple[str, ...]:
    """Expand ranges such as `arts[001-040]` or `arts[001-003,007]`, in order.

    :raises ValueError: not a host name or range, a descending range, or a host listed twice
    """
    hosts: list[str] = []
    for entry in entries:
        match = _RANGE.fullmatch(entry)
        names = [entry] if match is None else [*_numbered(match)]
        for name in names:
            if not _HOST.fullmatch(name):
                raise ValueError(f"{entry!r} is not a host name")
        hosts += names
        if len(hosts) > _MAX_HOSTS:
            raise ValueError(f"more than {_MAX_HOSTS} hosts")
    twice = [host for host, count in Counter(map(str.casefold, hosts)).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is listed twice")
    return tuple(hosts)


def _numbered(match: re.Match[str]) -> Iterator[str]:
    before, ranges, after = match[1], match[2], match[3]
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        high = high or low
        if not (low.isdecimal() and high.isdecimal()) or int(low) > int(high):
            raise ValueError(f"{match[0]!r} is not a range of host names")
        if int(high) - int(low) >= _MAX_HOSTS:
            raise ValueError(f"{match[0]!r} is more than {_MAX_HOSTS} hosts")
        for number in range(int(low), int(high) + 1):
            yield f"{before}{number:0{len(low)}d}{after}"


def unknown_key(entry: Unknown) -> str:
    """Return the warning for an unknown or obsolete key."""
    start = f"{entry.value.place}: {entry.path}: "
    if entry.name == "server_auth":
        return start + "no longer used: the cluster's secret file takes its place"
    if entry.name in _OBSOLETE or entry.name.startswith("model_"):
        return start + "no longer used"
    import difflib  # noqa: PLC0415 - for who has mistyped it

    near = difflib.get_close_matches(entry.name, entry.valid, n=1, cutoff=0.5)
    return start + "unknown, ignored" + (f"; did you mean {near[0]}?" if near else "")
