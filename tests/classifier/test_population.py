"""Instruments that are drawn, and the tables of what is kept of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darc.candidates.classifier.feature_classifier import ALL_NAMES
from darc.science.candidate_arrays import normalised
from darc.science.freq_time_features import freq_time_features
from training.classifier_report import BEGIN, END, Scored, report, share, write_report
from training.drawn_instruments import DrawnInstrument
from training.examples import INTERFERENCE, Example, burst, quantised
from training.feature_tables import FeatureTable, joined, make_table
from training.population import (
    N_BURSTS,
    N_FOLDS,
    N_WITHIN,
    TEST_FOLD,
    InstrumentClass,
    class_of,
    examples_of_instrument,
    fold_of,
    instrument_of,
)
from training.train_classifier import held_out, train

SEED = 40_000
N_DRAWN = 300


@pytest.fixture(scope="module")
def instruments() -> list[DrawnInstrument]:
    return [instrument_of(SEED, number) for number in range(N_DRAWN)]


@pytest.fixture(scope="module")
def quickest(instruments: list[DrawnInstrument]) -> int:
    """Number of the instrument whose data are the smallest."""
    few = [one.largest_search * (1 + one.band.n_channels / 256) for one in instruments]
    return int(np.argmin(few))


def test_instruments_are_of_all_that_there_are(instruments: list[DrawnInstrument]) -> None:
    for low, values, high in (
        (16, [one.band.n_channels for one in instruments], 4096),
        (100, [one.band.f_low for one in instruments], 8000),
        (100, [one.band.f_high for one in instruments], 8000),
        (1e-5, [one.tsamp for one in instruments], 2e-3),
    ):
        assert low <= min(values)
        assert max(values) <= high * (1 + 1e-9)
        # From end to end, within a factor of 2 of each.
        assert min(values) < 2 * low
        assert max(values) > high / 2
    assert {one.bits for one in instruments} == {1, 2, 4, 8}
    for one in instruments:
        assert one.dm_max >= 3 * one.dm_min
        assert one.smeared(1, one.dm_max) <= one.widest
    for name in InstrumentClass.__struct_fields__:
        assert len({getattr(class_of(one), name) for one in instruments}) >= 3


def test_an_instrument_is_in_one_fold_and_the_same_again() -> None:
    assert [fold_of(number) for number in range(10)] == [*range(N_FOLDS)] * 2
    assert instrument_of(SEED, 7) == instrument_of(SEED, 7)
    assert instrument_of(SEED, 7) != instrument_of(SEED, 8)
    assert instrument_of(SEED, 7) != instrument_of(SEED + 1, 7)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_samples_have_the_instruments_bits(bits: int) -> None:
    rng = np.random.default_rng(bits)
    found = quantised(rng.standard_normal((50, 400), dtype=np.float32), rng, bits)
    assert found.shape == (400, 50)
    assert found.max() <= 2**bits - 1
    assert len(np.unique(found)) >= min(2**bits, 8)


def test_bursts_have_what_was_in_interference_alone() -> None:
    """Other pulses in the window, and data that begin or end while they arrive."""

    def made(kind: str) -> list[Example]:
        return [burst(np.random.default_rng([SEED, n]), kind) for n in range(10)]

    def beside(examples: list[Example]) -> float:
        shares = [freq_time_features(one.freq_time)["second_peak_share"] for one in examples]
        return float(np.median(shares))

    def at_edge(one: Example) -> bool:
        return one.measured["there"] < 1 or one.measured["seam"] < 0.3

    whole, pulsars, cut = (made(kind) for kind in ("whole_band", "pulsar", "at_edge"))
    assert beside(pulsars) > 2 * beside(whole)
    assert sum(map(at_edge, cut)) >= 7
    assert not any(map(at_edge, whole))


def test_bursts_may_have_less_delay_than_their_width(
    instruments: list[DrawnInstrument], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pulses of a pulsar's file: else so little delay speaks for interference."""
    for name in ("BURSTS", "INTERFERENCE", "LOW_DELAY", "FAINT", "MORE", "LOW_DM", "PULSAR"):
        monkeypatch.setattr(f"training.population.N_{name}", 0)
    for name in ("AT_EDGE", "IMPULSES"):
        monkeypatch.setattr(f"training.population.N_{name}", 0)
    few = [
        number
        for number, one in enumerate(instruments)
        if one.band.n_channels <= 64 and one.delay_in_widths(one.dm_min, one.widest) < 0.25
    ][:3]
    made = [example for number in few for _, example in examples_of_instrument(SEED, number)]
    assert len(made) == 3 * N_WITHIN
    assert all(one.is_burst for one in made)
    # In widths as they were found, which are wrong by up to 1.7.
    assert all(one.delay < 3 for one in made)
    assert np.median([one.delay for one in made]) < 1


def test_a_table_is_kept_and_read_again(
    tmp_path: Path, quickest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without interference, which takes long."""
    monkeypatch.setattr("training.population.N_INTERFERENCE", 0)
    for name in ("N_LOW_DM", "N_IMPULSES", "N_OF_ARTS"):
        monkeypatch.setattr(f"training.population.{name}", 0)
    made = make_table(SEED, quickest, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == f"{SEED}-{quickest}.npz"
    read, again = make_table(SEED, quickest, tmp_path), make_table(SEED, quickest)
    for name in FeatureTable.__struct_fields__:
        np.testing.assert_array_equal(getattr(made, name), getattr(read, name))
        np.testing.assert_array_equal(getattr(made, name), getattr(again, name))
    assert np.count_nonzero(~made.arts) >= N_BURSTS
    assert made.is_burst.all()
    assert (made.instrument == quickest).all()


def made_table(n: int = 2000) -> FeatureTable:
    """Of numbers that tell bursts from interference, but not on their own."""
    rng = np.random.default_rng(5)
    is_burst = np.arange(n) % 2 == 0
    features = rng.normal(size=(n, len(ALL_NAMES))).astype(np.float32)
    features[:, :60] += np.where(is_burst, 0.25, -0.25)[:, np.newaxis]
    return FeatureTable(
        number=np.arange(n),
        instrument=np.arange(n) // 20,
        arts=np.arange(n) % 20 >= 15,
        is_burst=is_burst,
        kind=np.where(is_burst, "whole_band", INTERFERENCE[0]),
        snr=rng.uniform(5, 50, n),
        true_snr=np.where(is_burst, 20.0, 0.0),
        delay=rng.uniform(1, 50, n),
        freq_time=features[:, :49],
        dm_time=features[:, 49:76],
        measured=features[:, 76:],
    )


def test_no_instrument_is_tested_on_that_was_trained_or_calibrated_with() -> None:
    """What is in the test instruments makes no difference to the classifier."""
    pytest.importorskip("sklearn")
    table = made_table(300)
    tested = np.array([fold_of(one) == TEST_FOLD for one in table.instrument.tolist()])
    assert set(held_out(table).instrument.tolist()) == {
        one for one in table.instrument.tolist() if one % N_FOLDS == TEST_FOLD
    }
    other = table.freq_time.copy()
    other[tested] = normalised(other[tested][::-1])
    changed = FeatureTable(
        *(other if n == "freq_time" else getattr(table, n) for n in FeatureTable.__struct_fields__)
    )
    once, again = train(table, 1), train(changed, 1)
    for kind in ("freq_time", "all"):
        trees, same = getattr(once, kind), getattr(again, kind)
        for name in ("feature", "threshold", "value"):
            np.testing.assert_array_equal(getattr(trees, name), getattr(same, name))
        assert trees.start == same.start


@pytest.mark.parametrize(
    ("kept", "n", "text"),
    [(0, 10, "0.0 ± 7.7 % (0/10)"), (95, 100, "95.0 ± 2.3 % (95/100)"), (0, 0, "none")],
)
def test_shares_have_their_uncertainty(kept: int, n: int, text: str) -> None:
    assert share(np.arange(n) < kept) == text


def test_tables_replace_those_of_the_page(tmp_path: Path) -> None:
    table = made_table()
    scored = Scored(table, np.where(table.is_burst, 0.9, 0.1), np.full(len(table), 0.5))
    classes = {number: class_of(instrument_of(SEED, number)) for number in range(100)}
    text = report({"shipped": scored}, scored, scored, classes)
    assert "| drawn, all | 100 | 100.0 ± 0.1 % (800/800) |" in text
    none = [share(np.zeros(n, dtype=np.bool_)) for n in (300, 700)]
    assert f"| {INTERFERENCE[0].replace('_', ' ')} | {none[0]} | {none[1]} |" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_report(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n\n{text}\n\n{END}\nafter\n"
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place for tables"):
        write_report(page, text)
    assert joined([table, table]).strongest.sum() == len(table)
