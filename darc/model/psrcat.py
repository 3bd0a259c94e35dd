"""The ATNF pulsar catalogue's own file, ``psrcat.db``, as a list of known sources.

Source: the file's format as psrcat documents it (Manchester et al. 2005, AJ 129, 1993). A pulsar is
some lines of ``KEY value [error] [reference]``, ended by a line that begins with ``@``; comments
are behind ``#``. Used are PSRJ, PSRB, RAJ (hh:mm:ss.s), DECJ (dd:mm:ss.s) and DM. Pulsars without
a DM cannot be recognised and are left out; those without an equatorial position have none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from darc.model.sources import Source, SourceList

_ANGLE = re.compile(r"([+-]?)(\d{1,3})(?::(\d{1,2}(?:\.\d*)?))?(?::(\d{1,2}(?:\.\d*)?))?")
_KEYS = {"PSRJ", "PSRB", "RAJ", "DECJ", "DM"}


class PsrcatError(ValueError):
    """A line cannot be read; the text names file, line and value."""


def parse_psrcat(text: str, file: str) -> SourceList:
    """Parse a catalogue.

    :param file: its name, for messages
    :return: pulsars by their J name; their B name is an alias
    :raises PsrcatError: a value cannot be read, a pulsar has no name, or there is none
    """
    sources: dict[str, Source] = {}
    aliases: dict[str, str] = {}
    for line, found in _pulsars(text):
        name, dm = found.get("PSRJ"), found.get("DM")
        if name is None:
            raise PsrcatError(f"{file}:{line}: a pulsar without PSRJ; wanted: a name in each")
        if dm is None:
            continue
        position = _position(found, f"{file}:{line}: {name}")
        sources[name] = Source(name, "pulsar", _dm(dm, f"{file}:{line}: {name}"), position)
        if "PSRB" in found:
            aliases[found["PSRB"]] = name
    if not sources:
        raise PsrcatError(f"{file}: no pulsar with a DM; wanted: lines of PSRJ, RAJ, DECJ and DM")
    return SourceList(sources, aliases)


def _pulsars(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line where each pulsar ends, and its values."""
    found: dict[str, str] = {}
    number = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("@"):
            if found:
                yield number, found
            found = {}
            continue
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0] in _KEYS:
            found.setdefault(words[0], words[1])
    if found:
        yield number, found


def _dm(text: str, where: str) -> float:
    try:
        dm = float(text)
    except ValueError:
        dm = math.nan
    if not 0 <= dm < 100_000:
        raise PsrcatError(f"{where}: DM: {text!r:.40}; allowed: 0 to 100000")
    return dm


def _position(found: dict[str, str], where: str) -> tuple[float, float] | None:
    if "RAJ" not in found or "DECJ" not in found:
        return None
    ra, dec = _angle(found["RAJ"], where) * 15, _angle(found["DECJ"], where)
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise PsrcatError(f"{where}: {found['RAJ']} {found['DECJ']}; allowed: a position")
    return ra, dec


def _angle(text: str, where: str) -> float:
    match = _ANGLE.fullmatch(text)
    if match is None:
        raise PsrcatError(f"{where}: {text!r:.40}; allowed: an angle as 12:34:56.7")
    sign, whole, minutes, seconds = match.groups()
    value = int(whole) + float(minutes or 0) / 60 + float(seconds or 0) / 3600
    return -value if sign == "-" else value


def as_source_list(sources: SourceList) -> dict[str, dict[str, object]]:
    """Return the mappings of a source list's YAML, which `parse_source_list` reads."""
    kinds = {"pulsar": "pulsars", "frb": "frbs"}
    made: dict[str, dict[str, object]] = {"pulsars": {}, "frbs": {}, "aliases": {}, "positions": {}}
    for name, source in sources.sources.items():
        made[kinds[source.kind]][name] = source.dm
        if source.position is not None:
            made["positions"][name] = [round(angle, 5) for angle in source.position]
    made["aliases"] |= dict(sources.aliases)
    return made
