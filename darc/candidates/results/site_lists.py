"""Lists of observations on the site: the newest, and all of them by year and day.

    index.html                          the newest observations
    year-<YYYY>.html                    the days of a year
    <date>/index.html, page-<n>.html    the observations of a day, the last ones in index.html

Lists are derived from the observations' directories alone. Each list ends with a fingerprint of its
input: it is written again only if that has changed, even after a crash of a writer. So an update of
an observation writes at most the lists that contain it, however many observations there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Set
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

from darc import __version__
from darc.candidates.results.results_site import (
    ENTRY,
    INDEX,
    POLICY,
    ObservationEntry,
    address,
    environment,
    read_entry,
    write_assets,
)
from darc.config.records import Struct
from darc.runtime.paths import write_whole
from darc.runtime.retention import remove_unfinished

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Maximum number of observations in a list.
ROWS = 100
#: Maximum number of attempts, if another process writes the same list.
_LOOKS = 20
_DAY = re.compile(r"\d{8}", re.ASCII)
_PAGE = re.compile(r"page-(\d{1,9})\.html", re.ASCII)
_YEAR_PAGE = re.compile(r"year-(\d{4}|other)\.html", re.ASCII)
_FINGERPRINT = b"\n<!-- made from "
_TEMPLATES = ("base.html", "parts.html", "index.html", "day.html", "year.html")

#: Entry: its directory below the site, and attributes that change with the file.
_Seen = tuple[str, int, int, int]


class _Page(Struct, frozen=True):
    """Input of a day's page.

    :param earlier: name of the previous page; empty: none
    :param later: name of the next page; empty: none
    """

    earlier: str
    later: str
    entries: tuple[_Seen, ...]


class _Newest(Struct, frozen=True):
    """Input of the index.

    :param all: there are no other observations
    :param days: days with pages of their own
    :param years: years with pages of their own
    """

    entries: tuple[_Seen, ...]
    all: bool
    days: tuple[str, ...]
    years: tuple[str, ...]


def write_lists(
    site: Path, days_kept: int | None = None, *, date: str = "", name: str = ""
) -> list[str]:
    """Write the lists that are not up to date: all, or those that contain an observation.

    :param site: directory of the site; created
    :param days_kept: number of days with observations that stay on the site; None: all
    :param date: date of the observation
    :param name: name of its directory, in that of the date
    :return: unreadable entries, which are missing in the lists, and why
    :raises OSError: a list cannot be written; the earlier one remains
    """
    return _Lists(site, days_kept, date).write(name)


class _Lists:
    """Lists of a site.

    :param updated: day of the observation just written, which is kept
    """

    def __init__(self, site: Path, days_kept: int | None, updated: str = "") -> None:
        self._site = site
        self._days_kept = days_kept
        self._updated = updated
        self._left_out: dict[str, None] = {}

    def write(self, name: str = "") -> list[str]:
        self._site.mkdir(parents=True, exist_ok=True)
        write_assets(self._site)
        remove_unfinished(self._site)
        kept, expired = self._days()
        days = [self._updated] if self._updated else kept
        for date in days:
            self._write_day(date, name)
        years = {_year(date) for date in days + expired}
        if not self._updated:
            found = (_YEAR_PAGE.fullmatch(path.name) for path in self._site.iterdir())
            years |= {one[1] for one in found if one}
        empty = {year for year in years if not self._see_year(year)}
        for year in sorted(years - empty):
            path = self._site / _year_page(year)
            self._make(path, partial(self._see_year, year), partial(self._show_year, year))
        self._make(self._site / INDEX, partial(self._see_newest, empty), self._show_newest)
        # Removed last, when no list links to them.
        for year in empty:
            (self._site / _year_page(year)).unlink(missing_ok=True)
        for date in expired:
            self._remove_day(date)
        return list(self._left_out)

    # -- what there is -----------------------------------------------------------------------------

    def _days(self) -> tuple[list[str], list[str]]:
        """Return the names of days, the newest first: those to keep, and those to remove."""
        names = _directories(self._site)
        days = sorted((name for name in names if _DAY.fullmatch(name)), reverse=True)
        others = sorted(name for name in names if not _DAY.fullmatch(name))  # of unknown age
        expired = days[self._days_kept :] if self._days_kept is not None else []
        # The targets of links are not ours.
        expired = [
            date
            for date in expired
            if date != self._updated and not (self._site / date).is_symlink()
        ]
        removed = set(expired)
        return [date for date in days if date not in removed] + others, expired

    def _names(self, date: str) -> list[str]:
        return sorted(_directories(self._site / date))

    def _see(self, date: str, names: Iterable[str]) -> Iterator[_Seen]:
        for name in names:
            # Being written: its writer updates the lists afterwards.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found = (self._site / date / name / ENTRY).stat()
                yield f"{date}/{name}", found.st_ino, found.st_size, found.st_mtime_ns

    def _see_page(self, date: str, names: list[str], number: int) -> _Page:
        last = _pages(names)
        return _Page(
            _page_name(number - 1, last) if number > 1 else "",
            _page_name(number + 1, last) if number < last else "",
            tuple(self._see(date, names[(number - 1) * ROWS : number * ROWS])),
        )

    def _see_year(self, year: str) -> tuple[str, ...]:
        days = [date for date in self._days()[0] if _year(date) == year]
        return tuple(date for date in days if (self._site / date / INDEX).is_file())

    def _see_newest(self, empty: Set[str]) -> _Newest:
        kept, _ = self._days()
        newest = (seen for date in kept for seen in self._see(date, reversed(self._names(date))))
        entries = tuple(islice(newest, ROWS))
        days = dict.fromkeys(map(_date, entries))
        years = [year for year in dict.fromkeys(map(_year, kept)) if year not in empty]
        return _Newest(
            entries,
            next(newest, None) is None,
            tuple(date for date in days if (self._site / date / INDEX).is_file()),
            tuple(year for year in years if (self._site / _year_page(year)).is_file()),
        )

    # -- lists -------------------------------------------------------------------------------------

    def _write_day(self, date: str, name: str) -> None:
        """Write the pages of a day that an observation is on or changes; all without a name."""
        remove_unfinished(self._site / date)
        for _ in range(_LOOKS):
            names = self._names(date)
            if next(self._see(date, names), None) is None:
                self._remove_pages(date, 0)
                return
            last = _pages(names)
            own = names.index(name) // ROWS + 1 if name in names else last
            # Also the two before: the last page is renamed when another follows.
            for number in range(max(1, own - 2) if name else 1, last + 1):
                there = self._make(
                    self._site / date / _page_name(number, last),
                    partial(self._see_page, date, names, number),
                    partial(self._show_page, date),
                )
                if name and there and number > own:
                    break  # later pages are up to date, too
            self._remove_pages(date, last)
            if self._names(date) == names:
                return

    def _make(
        self, path: Path, see: Callable[[], T], show: Callable[[T], tuple[str, list[str]]]
    ) -> bool:
        """Write a list, unless it is up to date; return whether it was."""
        for look in range(_LOOKS):
            seen = see()
            end = _fingerprint(seen)
            if _end_of(path) == end:
                return look == 0
            text, left_out = show(seen)
            self._left_out |= dict.fromkeys(left_out)
            # Unreadable entries may be repaired without a change of attributes: the list is written
            # again.
            content = text.encode() + (_fingerprint(None) if left_out else end)
            write_whole(path, content, durable=False)
            if left_out:
                break
        return False

    def _show_page(self, date: str, page: _Page) -> tuple[str, list[str]]:
        rows, left_out = self._read(page.entries)
        text = _render(
            "day.html",
            root="../",
            date=date,
            rows=[(entry, address(Path(path).relative_to(date) / INDEX)) for entry, path in rows],
            page=page,
            year=_year(date),
            year_page=address(Path(_year_page(_year(date)))),
            left_out=left_out,
        )
        return text, left_out

    def _show_year(self, year: str, days: tuple[str, ...]) -> tuple[str, list[str]]:
        months = [
            (month, [(date, address(Path(date) / INDEX)) for date in dates])
            for month, dates in groupby(days, lambda date: date[:6] if _DAY.fullmatch(date) else "")
        ]
        return _render("year.html", root="", year=year, months=months), []

    def _show_newest(self, newest: _Newest) -> tuple[str, list[str]]:
        rows, left_out = self._read(newest.entries)
        days: dict[str, list[tuple[ObservationEntry, str]]] = {}
        for entry, path in rows:
            day = days.setdefault(path.partition("/")[0], [])
            day.append((entry, address(Path(path) / INDEX)))
        text = _render(
            "index.html",
            root="",
            days=days,
            day_pages={date: address(Path(date) / INDEX) for date in newest.days},
            count=len(rows),
            all=newest.all,
            years=[(year, address(Path(_year_page(year)))) for year in newest.years],
            left_out=left_out,
        )
        return text, left_out

    def _read(self, seen: Iterable[_Seen]) -> tuple[list[tuple[ObservationEntry, str]], list[str]]:
        """Read entries, the newest first, each with its directory; and the errors of others."""
        entries: list[tuple[ObservationEntry, str]] = []
        left_out: list[str] = []
        for path, *_ in seen:
            try:
                entries.append((read_entry(self._site / path / ENTRY), path))
            except FileNotFoundError:
                continue  # removed meanwhile
            except (OSError, ValueError) as error:
                left_out.append(str(error))
        entries.sort(key=lambda one: (one[0].start, one[0].datetimesource), reverse=True)
        return entries, left_out

    # -- what is not kept --------------------------------------------------------------------------

    def _remove_pages(self, date: str, last: int) -> None:
        """Remove the pages of a day after the last one; or all, if there is none."""
        for path in (self._site / date).glob("page-*.html"):
            found = _PAGE.fullmatch(path.name)
            if found and int(found[1]) >= last:
                path.unlink(missing_ok=True)
        index = self._site / date / INDEX
        if last == 0 and _end_of(index).startswith(_FINGERPRINT):
            index.unlink(missing_ok=True)

    def _remove_day(self, date: str) -> None:
        """Remove the files of a day that DARC has written."""
        directory = self._site / date
        found = [directory / name for name in _directories(directory)]
        ours = [path for path in found if (path / ENTRY).is_file() and not path.is_symlink()]
        for path in ours:
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                continue  # removed by another process
            except OSError as error:
                log.error("cannot be removed from the site: %s", error)
                return
            log.info("%s removed: the site keeps those of %s days", path, self._days_kept)
        self._remove_pages(date, 0)
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()


def _directories(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as found:
            return [one.name for one in found if one.is_dir() and not one.name.startswith(".")]
    except FileNotFoundError:
        return []  # removed by another process


def _date(seen: _Seen) -> str:
    return seen[0].partition("/")[0]


def _year(date: str) -> str:
    return date[:4] if _DAY.fullmatch(date) else "other"


def _year_page(year: str) -> str:
    return f"year-{year}.html"


def _pages(names: list[str]) -> int:
    return max(1, -(-len(names) // ROWS))


def _page_name(number: int, last: int) -> str:
    return INDEX if number == last else f"page-{number}.html"


def _render(template: str, **values: Any) -> str:
    return environment().get_template(template).render(policy=POLICY, **values)


def _fingerprint(seen: object) -> bytes:
    """Return the end of a list with this input; its length is constant.

    :param seen: None: for a list that must be written again
    """
    digest = hashlib.sha256(f"{_code()} {seen!r}".encode(errors="surrogateescape")).hexdigest()
    return _FINGERPRINT + (digest if seen is not None else "-" * len(digest)).encode() + b" -->\n"


@cache
def _code() -> str:
    """Return the fingerprint of the code: lists of another version are written again."""
    loader = environment().loader
    assert loader
    sources = [loader.get_source(environment(), name)[0] for name in _TEMPLATES]
    return hashlib.sha256("\n".join((__version__, *sources)).encode()).hexdigest()


def _end_of(path: Path) -> bytes:
    """Read the end of a file, of the length of a fingerprint."""
    size = len(_fingerprint(None))
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except FileNotFoundError:
        return b""
