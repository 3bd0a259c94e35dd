"""Files of one beam, one after the other, or two at a time."""

from __future__ import annotations

from bisect import insort

#: Two files of a beam overlap if one has a candidate so long after the other's start (s).
OVERLAP_SECONDS = 2.0


class FilesOfBeam:
    """Files of one beam, in order of their starts: one after the other, or two at a time."""

    def __init__(self) -> None:
        self._names: list[str] = []  # all that came
        self._starts: list[tuple[float, str]] = []
        self._latest: dict[str, float] = {}
        self._first: dict[str, float] = {}  # of those that count from the observation

    def add(self, name: str, start: float | None) -> tuple[str, str] | None:
        """Add a file; return two that are of the same time, if there are.

        :param start: since the observation's start (s); None: its name has none
        """
        if name in self._names:
            return None
        self._names.append(name)
        if start is None or len(self._starts) + 1 < len(self._names):
            return (self._names[0], name) if len(self._names) > 1 else None
        place = (start, name)
        insort(self._starts, place)
        number = self._starts.index(place)
        return self._overlap(number) or (self._overlap(number - 1) if number else None)

    def note(self, name: str, latest: float, first: float | None) -> tuple[str, str] | None:
        """Note times of a file (s); return two files that are of the same time, if there are.

        :param first: None: they do not count from the observation
        """
        if first is not None:
            self._first[name] = min(first, self._first.get(name, first))
        self._latest[name] = max(latest, self._latest.get(name, latest))
        found = [number for number, (_, one) in enumerate(self._starts) if one == name]
        return self._overlap(found[0]) if found else None

    def counted_from(self, names: tuple[str, str]) -> float | None:
        """Return how long before the observation the first file's times count from, at least (s).

        :param names: two files of the same time
        :return: None: they count from the observation, or from the file
        """
        name, later = names
        starts = {one: start for start, one in self._starts}
        if name not in self._first or later not in starts:
            return None
        early = self._first[name] - starts[later]
        return early if early > OVERLAP_SECONDS else None

    def _overlap(self, number: int) -> tuple[str, str] | None:
        """Return a file and the next one, if it has gone on while that was written."""
        if number + 1 >= len(self._starts):
            return None
        name, (next_start, next_name) = self._starts[number][1], self._starts[number + 1]
        latest = self._latest.get(name, next_start)
        return (name, next_name) if latest > next_start + OVERLAP_SECONDS else None
