"""Known sources that candidates may be of: on the page and in the e-mail, where one matches."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from default_config import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from results_made_up import observation

from darc.candidates.results.collect_results import ResultsRequest
from darc.candidates.results.publication import Publication
from darc.candidates.results.source_matches import MatchSettings, SourceMatcher, match_settings
from darc.candidates.results.trigger_lists import write_summary, write_triggers
from darc.model.observation import Observation, Pointing
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary
from darc.model.results import Coordinates, SourceMatch
from darc.model.results_email import results_email
from darc.model.sources import Source
from darc.science.source_match import Measured, Unlisted, probabilities

CRAB, CRAB_DM = (83.6332, 22.0145), 56.77
LISTS = ("source_list.yaml",)


def listed(dm: float, *, cb: int = 0, beam: int = 0, time: float = 1.0) -> ListedCandidate:
    return ListedCandidate(
        snr=20.0, dm=dm, time=time, downsampling=4, beam=beam, probability=0.9, cb=cb
    )


def pointed(*pointings: Pointing) -> Observation:
    made = observation(beams=len(pointings))
    return replace(made, reference_frame="J2000", pointings=pointings)


def published(
    directory: Path, made: Observation, rows: list[ListedCandidate], settings: MatchSettings | None
) -> tuple[str, str]:
    """Publish a beam's candidates; return the page's text and the e-mail's."""
    results = made.directory_in(directory / "results")
    results.mkdir(parents=True)
    write_triggers(results / "CB00_triggers.txt", rows)
    summary = ProcessingSummary(1, 1, 1, len(rows))
    write_summary(results / "CB00_summary.yaml", summary, made.arrival_reference())
    publication = Publication(
        ResultsRequest(made, results, (0,), 0.0, made.arrival_reference()),
        directory / "site",
        CONFIG.instrument.position,
        Path("galaxy_ymw16.npz"),
        matching=settings,
    )
    found = publication.update()
    return publication.page.read_text(), results_email(found, 10, "page")[1]


def test_a_match_is_on_the_page_and_in_the_email(tmp_path: Path) -> None:
    made = pointed(Pointing(0, CRAB[0], CRAB[1] + 0.05))
    rows = [listed(CRAB_DM + 0.3), listed(900.0, time=2.0)]
    page, mail = published(tmp_path, made, rows, MatchSettings(LISTS, 0.5))
    assert page.count("B0531+21") == 1
    assert "May be of" in page
    (line,) = [line for line in mail.splitlines() if "B0531+21" in line]
    assert line.endswith("0.90  B0531+21 (1.00)")
    assert line.split()[2] == "57.07"


@pytest.mark.parametrize(
    ("place", "lists"),
    [((CRAB[0], CRAB[1] + 3.0), LISTS), (CRAB, ()), (None, LISTS)],
    ids=["elsewhere", "no lists", "no pointing"],
)
def test_without_a_match_there_is_no_column(
    place: tuple[float, float] | None, lists: tuple[str, ...], tmp_path: Path
) -> None:
    made = pointed(Pointing(0, *place)) if place else replace(observation(beams=1), pointings=())
    page, mail = published(tmp_path, made, [listed(CRAB_DM)], MatchSettings(lists, 0.5))
    assert "ay be of" not in page + mail
    assert "B0531+21" not in page + mail


def test_a_list_that_cannot_be_read_is_named_and_the_page_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "psrcat.db"
    bad.write_text("PSRJ A\nDM x\n")
    with caplog.at_level(logging.ERROR):
        settings = MatchSettings((str(bad),), 0.5)
        page, _ = published(tmp_path, pointed(Pointing(0, *CRAB)), [listed(CRAB_DM)], settings)
    assert "57" in page
    assert f"not matched with all known sources: {bad}:2: A: DM: 'x'" in caplog.text


def test_a_broken_list_leaves_the_others_and_is_a_problem_of_the_results(tmp_path: Path) -> None:
    bad, gone = tmp_path / "psrcat.db", tmp_path / "gone.yaml"
    bad.write_text("PSRJ A\nDM x\n")
    made = pointed(Pointing(0, *CRAB))
    directory = made.directory_in(tmp_path / "results")
    directory.mkdir(parents=True)
    write_triggers(directory / "CB00_triggers.txt", [listed(CRAB_DM)])
    write_summary(
        directory / "CB00_summary.yaml", ProcessingSummary(1, 1, 1, 1), made.arrival_reference()
    )
    publication = Publication(
        ResultsRequest(made, directory, (0,), 0.0, made.arrival_reference()),
        tmp_path / "site",
        CONFIG.instrument.position,
        tmp_path / "none.npz",
        matching=MatchSettings((str(bad), str(gone), *LISTS), 0.5),
    )
    for _ in range(2):
        found = publication.update()
        (candidate,) = found.candidates
        assert candidate.source is not None
        assert candidate.source.name == "B0531+21"
        galaxy, first, second = found.problems
        assert str(tmp_path / "none.npz") in galaxy
        assert f"{bad}:2: A: DM: 'x'" in first
        assert str(gone) in second


def test_a_beam_with_a_pointing_of_its_own_counts(tmp_path: Path) -> None:
    """As with a multibeam receiver: the candidate's beam, not the node's."""
    made = pointed(Pointing(0, CRAB[0], CRAB[1] + 3.0), Pointing(7, *CRAB))
    rows = [listed(CRAB_DM, beam=7), listed(CRAB_DM + 0.1, beam=0)]
    page, _ = published(tmp_path, made, rows, MatchSettings(LISTS, 0.5, by_candidate_beam=True))
    assert page.count("B0531+21") == 1


def test_the_width_of_a_beam_is_twice_its_half_axes() -> None:
    instrument = CONFIG.instrument
    oval = replace(instrument, beam_semimajor=40.0, beam_semiminor=10.0)
    assert match_settings(LISTS, oval) == MatchSettings(LISTS, 2 * 20 / 60)


@given(st.floats(-3, 3), st.floats(0, 60), st.integers(1, 3000), st.floats(0.05, 2))
def test_it_is_that_of_all_sources_where_it_is_shown(
    off: float, dm_off: float, samples: int, width: float
) -> None:
    """Leaving out what is far away changes no match that is shown."""
    made = pointed(Pointing(0, 83.6, 22.0))
    sources = [
        Source("A", "pulsar", 56.77, (83.6, 22.0 + off)),
        Source("B", "frb", 56.77 + dm_off, (84.0, 22.0)),
    ]
    place = Coordinates(0, 83.6, 22.0, 184.0, -5.8)
    one = replace(listed(56.77), downsampling=samples)
    found = SourceMatcher(MatchSettings((), width), made, sources, [place], 1e-4).match(one)
    f_low, f_high = made.f_low / 1e3, made.f_high / 1e3
    error = samples * 1e-4 / (4.148808e-3 * (f_low**-2 - f_high**-2))  # s over s per pc cm-3
    measured = Measured(83.6, 22.0, width / 2.3548, 56.77, error)
    wanted = probabilities(measured, sources, Unlisted(1.133 * width**2, 2000.0))
    name, probability = next(iter(wanted.items()))
    if probability < 0.1:
        assert found is None
    else:
        assert found == SourceMatch(name, pytest.approx(probability, abs=1e-3))
