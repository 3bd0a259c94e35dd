"""The site's lists of observations: paged, updated alone, and up to date whoever was killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from results_made_up import observation

from darc.candidates.results import site_lists
from darc.candidates.results.collect_results import ResultsRequest
from darc.candidates.results.publication import Publication
from darc.candidates.results.results_site import ENTRY, INDEX, make_entry
from darc.candidates.results.site_lists import ROWS, write_lists
from darc.config import typed
from darc.model.observation import Observation
from darc.model.results import ObservationResults
from darc.runtime import retention

BEGIN = datetime(2019, 11, 1, tzinfo=UTC)


def numbered(number: int, apart: timedelta = timedelta(hours=6)) -> Observation:
    """An observation; those of higher numbers are later."""
    start = BEGIN + number * apart
    name = start.strftime("%Y-%m-%d-%H:%M:%S.") + f"source{number}"
    return replace(
        observation(beams=1),
        task_id=f"{number:09d}",
        datetimesource=name,
        date=start.strftime("%Y%m%d"),
        source=f"source{number}",
        start=start.timestamp(),
    )


def put(site: Path, made: Observation) -> Path:
    """What the lists are made from, as `write_observation_page` leaves it."""
    directory = site / made.date / made.datetimesource
    directory.mkdir(parents=True, exist_ok=True)
    entry = make_entry(ObservationResults(made, True, (), (), (), made.end))
    (directory / INDEX).write_text("")
    # Another file, as `write_whole` makes it.
    (directory / ".new").write_text(json.dumps(typed.to_plain(entry)))
    (directory / ".new").replace(directory / ENTRY)
    return directory


def update(site: Path, made: Observation, days_kept: int | None = None) -> list[str]:
    return write_lists(site, days_kept, date=made.date, name=made.datetimesource)


def reached(site: Path) -> dict[Path, str]:
    """All pages that can be reached from the index; each link has to lead to something."""
    pages: dict[Path, str] = {}
    todo = [site / INDEX]
    while todo:
        path = todo.pop()
        if path in pages or path.suffix != ".html":
            continue
        pages[path] = path.read_text()
        for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', pages[path]):
            target = Path(os.path.normpath(path.parent / unquote(link)))
            assert target.is_file(), f"{path} leads to {link}"
            todo.append(target)
    return pages


def sources(text: str) -> list[int]:
    return [int(one) for one in re.findall(r">source(\d+)</a>", text)]


def lists(site: Path) -> dict[str, bytes]:
    """The lists, by their paths."""
    found = [*site.glob("*.html"), *site.glob("*/*.html")]
    return {str(path.relative_to(site)): path.read_bytes() for path in found}


def expect_as_if_new(site: Path, days_kept: int | None = None) -> None:
    """The lists are those that are made of the observations from nothing."""
    there = lists(site)
    for name in there:
        (site / name).unlink()
    write_lists(site, days_kept)
    assert lists(site) == there


def test_old_observations_stay_within_reach(tmp_path: Path) -> None:
    for number in range(350):
        put(tmp_path, numbered(number))
    assert write_lists(tmp_path) == []
    pages = reached(tmp_path)
    assert sources(pages[tmp_path / INDEX]) == list(range(349, 349 - ROWS, -1))
    assert f"the newest {ROWS} observations" in pages[tmp_path / INDEX]
    assert {path.name for path in pages if path.parent == tmp_path} == {
        *(INDEX, "year-2019.html", "year-2020.html")
    }
    assert "November 2019" in pages[tmp_path / "year-2019.html"]
    days = [path for path in pages if path.parent.parent == tmp_path]
    assert sorted(one for path in days for one in sources(pages[path])) == list(range(350))
    assert len([path for path in pages if path.parent.parent.parent == tmp_path]) == 350


def test_a_day_of_many_has_pages_of_its_own(tmp_path: Path) -> None:
    apart = timedelta(minutes=4)
    for number in range(350):
        put(tmp_path, numbered(number, apart))
        if number in (50, 99, 100, 199, 200, 201, 349):
            update(tmp_path, numbered(number, apart))
            pages = reached(tmp_path)
            days = [path for path in pages if path.parent.parent == tmp_path]
            found = sorted(one for path in days for one in sources(pages[path]))
            assert found == list(range(number + 1))
            assert max(len(sources(text)) for text in pages.values()) <= ROWS
    expect_as_if_new(tmp_path)


@pytest.mark.parametrize("apart", [timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)])
def test_an_update_does_not_depend_on_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: timedelta
) -> None:
    written, read = [], []
    write, entry = site_lists.write_whole, site_lists.read_entry
    monkeypatch.setattr(
        site_lists,
        "write_whole",
        lambda *args, **options: written.append(args) or write(*args, **options),
    )
    monkeypatch.setattr(site_lists, "read_entry", lambda path: read.append(path) or entry(path))
    for number in range(600):
        put(tmp_path, numbered(number, apart))
    write_lists(tmp_path)
    last = numbered(600, apart)
    put(tmp_path, last)
    for _ in range(3):
        written.clear()
        read.clear()
        put(tmp_path, last)
        update(tmp_path, last)
        # The page of the day, and that before it if it has to lead on; year; index.
        assert len(written) <= 5
        assert len(read) <= 4 * ROWS
        assert sum(len(data) for _, data in written) < 300_000
    written.clear()
    write_lists(tmp_path)  # a service that is started again
    assert written == []


def test_an_update_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    made = numbered(1)
    put(tmp_path, made)
    update(tmp_path, made)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.html")}
    update(tmp_path, made)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*.html")} == before


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=40),
    st.sampled_from([timedelta(minutes=5), timedelta(hours=7), timedelta(days=40)]),
    st.sampled_from([None, 1, 3]),
)
@settings(max_examples=40)
def test_any_order_of_updates_and_deaths(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, bool, bool]],
    apart: timedelta,
    kept: int | None,
) -> None:
    """Observations in any order, some updates that never came: the next start mends the lists."""
    site = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_lists, "ROWS", 5)
        for number, updated, starts in steps:
            put(site, numbered(number, apart))
            if updated:
                update(site, numbered(number, apart), kept)
                reached(site)
            if starts:
                write_lists(site, kept)
                reached(site)
        write_lists(site, kept)
        write_lists(site, kept)
        pages = reached(site)
        there = {path.name for path in site.glob("*/*") if path.is_dir()}
        assert len({name[:10] for name in there}) <= (kept or 1000)
        assert {path.parent.name for path in pages if path.parent.parent.parent == site} == there
        expect_as_if_new(site, kept)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_lists_that_are_lost_or_damaged_are_made_again(tmp_path: Path, damage: str) -> None:
    for number in range(120):
        put(tmp_path, numbered(number, timedelta(minutes=10)))
    write_lists(tmp_path)
    whole = lists(tmp_path)
    assert len(whole) == 4
    for name, data in whole.items():
        path = tmp_path / name
        {
            "gone": path.unlink,
            "empty": lambda path=path: path.write_bytes(b""),
            "cut": lambda path=path, data=data: path.write_bytes(data[: len(data) // 2]),
            "other": lambda path=path: path.write_bytes(b"x" * 10_000),
        }[damage]()
    assert write_lists(tmp_path) == []
    assert lists(tmp_path) == whole


def test_an_entry_that_cannot_be_read_is_named_until_it_can(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path, numbered(number))
    entry = tmp_path / numbered(1).date / numbered(1).datetimesource / ENTRY
    whole = entry.read_text()
    entry.write_text("{")
    for _ in range(2):
        (problem,) = write_lists(tmp_path)
        assert problem.startswith(f"{entry}: no JSON")
        assert "Left out" in (tmp_path / INDEX).read_text()
    entry.write_text(whole)
    assert write_lists(tmp_path) == []
    assert sources((tmp_path / INDEX).read_text()) == [2, 1, 0]
    assert all("Left out" not in text for text in reached(tmp_path).values())


def test_an_observation_that_somebody_removed(tmp_path: Path) -> None:
    for number in range(250):
        put(tmp_path, numbered(number, timedelta(minutes=5)))
    write_lists(tmp_path)
    for number in range(1, 250):
        made = numbered(number, timedelta(minutes=5))
        shutil.rmtree(tmp_path / made.date / made.datetimesource)
    write_lists(tmp_path)
    assert sources((tmp_path / INDEX).read_text()) == [0]
    assert len(lists(tmp_path)) == 3
    reached(tmp_path)
    shutil.rmtree(tmp_path / numbered(0).date / numbered(0).datetimesource)
    write_lists(tmp_path)
    assert "No observations yet" in (tmp_path / INDEX).read_text()
    assert not (tmp_path / numbered(0).date / INDEX).exists()
    assert len(reached(tmp_path)) == 1
    assert len(lists(tmp_path)) == 1


def _updates(site: Path, numbers: list[int]) -> None:
    site_lists.ROWS = 10
    for number in numbers:
        made = numbered(number, timedelta(minutes=5))
        put(site, made)
        update(site, made)


def test_processes_that_update_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None undoes what another has written."""
    monkeypatch.setattr(site_lists, "ROWS", 10)
    context = multiprocessing.get_context("spawn")
    parts = [list(range(first, 36, 3)) for first in range(3)]
    workers = [context.Process(target=_updates, args=(tmp_path, part)) for part in parts]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
        assert one.exitcode == 0
    assert sources((tmp_path / INDEX).read_text()) == list(range(35, 25, -1))
    reached(tmp_path)
    expect_as_if_new(tmp_path)


def test_one_that_is_killed_between_any_two_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = site_lists.write_whole
    left = 0

    class Killed(BaseException):
        pass

    def dies(path: Path, data: bytes, **options: bool) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        write(path, data, **options)

    apart = timedelta(minutes=5)
    for number in range(103):
        put(tmp_path, numbered(number, apart))
        if number < 98:
            continue
        for writes in range(6):
            left = writes
            monkeypatch.setattr(site_lists, "write_whole", dies)
            try:
                update(tmp_path, numbered(number, apart))
            except Killed:
                if number > 98:
                    reached(tmp_path)
            monkeypatch.setattr(site_lists, "write_whole", write)
        update(tmp_path, numbered(number, apart))
        assert sources((tmp_path / INDEX).read_text())[0] == number
    write_lists(tmp_path)
    expect_as_if_new(tmp_path)


# -- what is not kept --------------------------------------------------------------------------


def test_by_default_nothing_is_removed(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path, numbered(number, timedelta(days=30)))
        update(tmp_path, numbered(number, timedelta(days=30)))
    write_lists(tmp_path)
    assert len(list(tmp_path.glob(f"*/*/{ENTRY}"))) == 30


def test_the_last_days_are_kept_and_what_is_not_ours(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    site = tmp_path / "site"
    days = [numbered(number, timedelta(days=100)) for number in range(6)]
    for made in days:
        put(site, made)
    write_lists(site)
    assert (site / "year-2020.html").exists()
    # Somebody's note, and a day that was moved to another disk.
    (site / days[1].date / "note.txt").write_text("mine")
    (site / days[2].date).rename(elsewhere)
    (site / days[2].date).symlink_to(elsewhere)
    (site / "mine").mkdir()
    write_lists(site, 2)
    pages = reached(site)
    assert sources(pages[site / INDEX]) == [5, 4, 2]
    there = sorted(path.name for path in site.iterdir() if path.is_dir())
    assert there == sorted([days[1].date, days[2].date, days[4].date, days[5].date, "mine"])
    assert [path.name for path in (site / days[1].date).iterdir()] == ["note.txt"]
    assert not (site / "year-2019.html").exists()


def test_an_observation_that_is_just_written_is_kept(tmp_path: Path) -> None:
    """Old ones may be processed again."""
    for number in (1, 2, 3):
        put(tmp_path, numbered(number, timedelta(days=1)))
    old = numbered(0, timedelta(days=1))
    directory = put(tmp_path, old)
    update(tmp_path, old, 2)
    assert (directory / ENTRY).exists()
    assert sources((tmp_path / INDEX).read_text()) == [3, 2, 0]
    reached(tmp_path)


def test_a_day_that_cannot_be_removed_keeps_nothing_else_from_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(site_lists.shutil, "rmtree", refuse)
    for number in (0, 1):
        put(tmp_path, numbered(number, timedelta(days=1)))
    assert update(tmp_path, numbered(1, timedelta(days=1)), 1) == []
    assert sources((tmp_path / INDEX).read_text()) == [1]
    assert "cannot be removed from the site: [Errno 13]" in caplog.text


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    made = observation(beams=1)
    results = tmp_path / "results"
    site = tmp_path / "site"
    page = site / made.date / made.datetimesource
    left, young, other = [], [], []
    for directory in (results, site, page.parent, page, page / "pictures", page / "files"):
        directory.mkdir(parents=True, exist_ok=True)
        for name, kind in ((".a.new.0123456789ab.new", left), (".b.0123456789cd.new", young)):
            (directory / name).write_text("")
            kind.append(directory / name)
        (directory / ".c.new").write_text("")
        other.append(directory / ".c.new")
    for path in left + other:
        os.utime(path, 2 * (time.time() - 2 * retention.UNFINISHED_SECONDS,))
    wanted = ResultsRequest(made, results, (0,), 0.0, made.arrival_reference())
    publication = Publication(wanted, site, (3828445.7, 445223.6, 5064921.6), tmp_path / "none")
    publication.update()
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in young + other)
