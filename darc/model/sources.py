"""List of known sources: pulsars and fast radio bursts, their DMs and positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

from darc.config import ranges
from darc.config.records import Struct, replace
from darc.config.typed import OneOf, Reader, Value
from darc.config.yaml_error import YAMLTextError
from darc.config.yaml_tree import parse_yaml

Kind = Annotated[str, OneOf("pulsar", "frb")]

_SOURCE = "a pulsar or FRB of this list"
_DM = Annotated[float, ranges.DM]


class SourceListError(ValueError):
    """The source list is invalid; `problems` has a message per error, with file and line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Source(Struct, frozen=True):
    """A known source."""

    name: str  # as in the list, also when found by an alias
    kind: Kind
    dm: float  # pc cm-3
    position: tuple[float, float] | None  # ICRS right ascension and declination (deg)


class SourceList(Struct, frozen=True):
    """Known sources by name."""

    sources: Mapping[str, Source]
    aliases: Mapping[str, str]  # to the name in `sources`
    warnings: tuple[str, ...] = ()

    def lookup(self, name: str) -> Source | None:
        """Return a source by its name or alias; None if unknown."""
        return self.sources.get(self.aliases.get(name, name))

    def chosen(self, wanted: Callable[[Source], bool]) -> SourceList:
        """Return the sources that are wanted, with their aliases."""
        sources = {name: source for name, source in self.sources.items() if wanted(source)}
        aliases = {alias: name for alias, name in self.aliases.items() if name in sources}
        return SourceList(sources, aliases, self.warnings)

    def with_position(self) -> tuple[Source, ...]:
        """Return the sources whose position is known."""
        return tuple(source for source in self.sources.values() if source.position)


class _File(Struct, frozen=True):
    pulsars: Mapping[str, _DM] | None = None
    frbs: Mapping[str, _DM] | None = None
    aliases: Mapping[str, str] | None = None
    positions: Mapping[str, tuple[float, float]] | None = None


def parse_source_list(text: str, name: str) -> SourceList:
    """Parse a source list: YAML maps `pulsars`, `frbs` (to DMs), `aliases` and `positions`.

    :param name: the file's name, for messages
    :raises SourceListError: the list is invalid; lists all problems
    """
    try:
        tree = parse_yaml(text, name)
    except YAMLTextError as error:
        raise SourceListError(list(map(str, error.problems))) from error
    reader = Reader()
    if tree.data is None:
        tree = Value({}, name, 1)
    file = reader.read(_File, tree, "")
    if file is None:
        raise SourceListError(reader.problems)

    sources = _sources(reader, tree, file)
    aliases = _aliases(reader, tree, file.aliases or {}, sources)
    if reader.problems:
        raise SourceListError(reader.problems)
    warnings = tuple(f"{e.value.place}: {e.path}: unknown, ignored" for e in reader.unknown)
    return SourceList(sources, aliases, warnings)


def merge_lists(lists: Iterable[SourceList]) -> SourceList:
    """Return the sources of some lists; one of several counts once, as the first of them has it.

    A later list's source is an earlier one's where its name or one of its aliases is. A source
    without a position gets that of a later list, if there is one.
    """
    sources: dict[str, Source] = {}
    aliases: dict[str, str] = {}
    warnings: list[str] = []
    for one in lists:
        called: dict[str, list[str]] = {}
        for alias, name in one.aliases.items():
            called.setdefault(name, []).append(alias)
        for name, source in one.sources.items():
            names = name, *called.get(name, ())
            known = next(
                (aliases.get(it, it) for it in names if it in aliases or it in sources), ""
            )
            if not known:
                sources[name] = source
            elif sources[known].position is None:
                sources[known] = replace(sources[known], position=source.position)
            aliases |= {
                it: known or name for it in names if it not in sources and it not in aliases
            }
        warnings += one.warnings
    return SourceList(sources, aliases, tuple(warnings))


def _sources(reader: Reader, tree: Value, file: _File) -> dict[str, Source]:
    positions = file.positions or {}
    kinds: tuple[tuple[Kind, str, Mapping[str, float]], ...] = (
        ("pulsar", "pulsars", file.pulsars or {}),
        ("frb", "frbs", file.frbs or {}),
    )
    sources: dict[str, Source] = {}
    for kind, section, dms in kinds:
        for name, dm in dms.items():
            if name in sources:
                _complain(
                    reader, tree, (section, name), "listed as a pulsar and as an FRB", "one of them"
                )
            sources[name] = Source(name, kind, dm, positions.get(name))
    for name, (longitude, latitude) in positions.items():
        if name not in sources:
            _complain(reader, tree, ("positions", name), "not a source", _SOURCE)
        if not (0 <= longitude < 360 and -90 <= latitude <= 90):
            what = f"{longitude}, {latitude} is not a position"
            allowed = "[ra, dec], 0 to 360 and -90 to 90"
            _complain(reader, tree, ("positions", name), what, allowed)
    return sources


def _aliases(
    reader: Reader, tree: Value, aliases: Mapping[str, str], sources: Mapping[str, Source]
) -> dict[str, str]:
    known = {}
    for alias, target in aliases.items():
        known[alias] = _follow(target, aliases)
        if alias in sources:
            _complain(reader, tree, ("aliases", alias), "a source itself", "another name")
        elif known[alias] not in sources:
            _complain(reader, tree, ("aliases", alias), f"{target!r} is not a source", _SOURCE)
    return known


def _complain(reader: Reader, tree: Value, path: tuple[str, str], what: str, allowed: str) -> None:
    section, name = path
    reader.complain(tree.data[section].data[name], f"{section}.{name}", what, allowed)


def _follow(name: str, aliases: Mapping[str, str]) -> str:
    """Resolve aliases of aliases; a cycle ends where it closes."""
    seen = set()
    while name in aliases and name not in seen:
        seen.add(name)
        name = aliases[name]
    return name
