"""The shipped classifier: what it accepts, what it tells apart, and files that are none."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.candidates.classifier import Classifier, ClassifierError, load_classifier
from darc.candidates.classifier.feature_classifier import load_features, save_features
from darc.model.processing_outcome import Score
from darc.science.dedispersion import Band
from darc.science.dm_time_features import dm_time_features
from darc.science.extraction_features import EXTRACTION_NAMES
from darc.science.freq_time_features import freq_time_features
from training.drawn_instruments import DrawnInstrument
from training.examples import BURSTS, Example, burst, examples, interference

#: Of generated data that neither training nor the benchmark uses.
SEED = 40_000
N_BURSTS = 45
#: What is generated quickly, so often.
KINDS = ("narrow_band_periodic", "narrow_band_bursts", "sweeps", "baseline", "dropouts", "low_dm")
N_PIECES = 6

SHIPPED = load_classifier(None)

#: Names of features in files of version 0.1.0.
OF_FREQ_TIME = [
    "snr",
    "snr_raw",
    "log_width",
    "offset",
    "used",
    "positive",
    "above_1",
    "above_half_mean",
    "largest",
    "smallest",
    "largest_share",
    "top_tenth_share",
    "snr_without_tenth",
    "snr_without_quarter",
    "participation",
    "median_channel",
    "skewness",
    "kurtosis",
    "smoothness_1",
    "smoothness_2",
    "excess_variance",
    "quarter_min",
    "quarter_second",
    "quarter_max_share",
    "half_min_share",
    "off_noise",
    "off_std",
    "off_correlation",
    "second_peak",
    "second_peak_share",
    "lowest_share",
    "lowest",
    "step",
    "step_near",
    "shoulder",
    "half_peak",
    "slope_gain",
    "slope_ratio",
    "slope",
    "slope_sign",
    "slope_up",
    "slope_down",
    "slope_side",
    "slope_far",
    "noise_spread",
    "off_kurtosis",
    "off_largest",
    "channel_correlation",
    "drift",
]
OF_DM_TIME = [
    "peak",
    "peak_row",
    "middle_share",
    "share_2",
    "share_4",
    "share_8",
    "share_12",
    "share_16",
    "share_24",
    "ends_max",
    "ends_first",
    "ends_last",
    "above_half",
    "centre",
    "spread",
    "elsewhere",
    "elsewhere_share",
    "lowest_share",
    "off_std",
    "off_correlation",
    "off_time_correlation",
    "arrival_slope",
    "roughness",
    "column_correlation",
    "bow_tie",
    "width",
    "sides",
]
OF_BOTH = [*OF_FREQ_TIME, *(f"dm_time.{name}" for name in OF_DM_TIME)]


def sizes(values: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=70), elements=values)


ANY = sizes(st.floats(width=32, allow_nan=True, allow_infinity=True))


@pytest.fixture(scope="session")
def bursts() -> list[Example]:
    return [
        burst(np.random.default_rng([SEED, n]), BURSTS[n % len(BURSTS)]) for n in range(N_BURSTS)
    ]


@pytest.fixture(scope="session")
def pieces() -> list[Example]:
    """Of interference, the strongest candidate of each."""
    return [
        interference(np.random.default_rng([SEED, number]), kind)[0]
        for number in range(N_PIECES)
        for kind in KINDS
    ]


def score(example: Example, classifier: Classifier = SHIPPED) -> Score:
    return classifier.score(example.freq_time, example.dm_time, example.measured)


def score_of_arrays(example: Example, classifier: Classifier = SHIPPED) -> Score:
    return classifier.score(example.freq_time, example.dm_time)


@given(ANY, ANY)
def test_any_arrays_have_probabilities(freq_time: np.ndarray, dm_time: np.ndarray) -> None:
    found = SHIPPED.score(freq_time, dm_time)
    assert 0 <= found.freq_time <= 1
    assert 0 <= found.dm_time <= 1


@pytest.mark.parametrize("value", [0.0, 7.5, math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("shape", [(1, 1), (32, 64), (64, 64)])
def test_arrays_of_one_value_are_no_bursts(value: float, shape: tuple[int, int]) -> None:
    array = np.full(shape, value, dtype=np.float32)
    found = SHIPPED.score(array, array)
    assert 0 <= found.freq_time <= 0.5
    assert 0 <= found.dm_time <= 1


@settings(max_examples=40)
@given(power=st.integers(-60, 60), number=st.integers(0, 11))
def test_units_do_not_matter(power: int, number: int, bursts: list[Example]) -> None:
    example = bursts[number]
    factor = np.float32(2.0**power)
    found = SHIPPED.score(example.freq_time * factor, example.dm_time * factor)
    expected = score_of_arrays(example)
    assert found.freq_time == pytest.approx(expected.freq_time, abs=1e-9)
    assert found.dm_time == pytest.approx(expected.dm_time, abs=1e-9)


def test_arrays_are_left_as_they_were(bursts: list[Example]) -> None:
    example = bursts[0]
    before = example.freq_time.copy(), example.dm_time.copy()
    score(example)
    np.testing.assert_array_equal(example.freq_time, before[0])
    np.testing.assert_array_equal(example.dm_time, before[1])


@pytest.mark.parametrize(("told", "most_wrong"), [(score, 0.1), (score_of_arrays, 0.2)])
def test_bursts_and_interference_are_told_apart(
    bursts: list[Example],
    pieces: list[Example],
    told: Callable[[Example], Score],
    most_wrong: float,
) -> None:
    found = [told(example) for example in bursts if example.snr >= 10]
    wrong = [told(example) for example in pieces]
    assert len(found) >= 30
    assert len(wrong) >= 30
    # At the default thresholds; of so few, one more or less is three per cent. All are sweeps, but
    # for two by the arrays alone.
    assert np.mean([s.freq_time > 0.5 and s.dm_time > 0 for s in found]) >= 0.9
    assert np.mean([s.freq_time > 0.5 and s.dm_time > 0 for s in wrong]) <= most_wrong
    assert np.mean([s.dm_time > 0.5 for s in found]) >= 0.85
    # By default it decides nothing. Of arrays alone, pulses of little delay are much like impulses.
    assert np.mean([s.dm_time > 0.5 for s in wrong]) <= 0.2


def test_pulses_of_less_delay_than_their_width_are_told_from_impulses() -> None:
    """Of S/N 7 to 10, of an instrument that the population does not have."""
    instrument = DrawnInstrument(
        Band(f_lowest=1400.0, channel_width=1.5, n_channels=64),
        tsamp=3e-4,
        widest=100,
        largest=1e7,
        largest_search=3e6,
        bits=2,
        dm_min=3.0,
        dm_max=1000.0,
    )
    pulses, impulses = [], []
    for number in range(24):
        rng = np.random.default_rng([SEED, number])
        pulses.append(
            burst(rng, "pulsar", instrument, largest_snr=10, least_delay=0.3, largest_delay=0.7)
        )
        impulses += interference(rng, "low_dm", instrument)[:1]
    assert np.mean([score(one).freq_time > 0.5 for one in pulses]) > 0.6
    assert np.mean([score(one).freq_time > 0.5 for one in impulses]) < 0.15


def test_what_the_extraction_knows_counts(bursts: list[Example]) -> None:
    """A burst that is as strong at DM 0 as it can be is less likely one."""
    likely = [example for example in bursts if score(example).freq_time > 0.5]
    assert len(likely) > 30
    for example in likely:
        snr = example.measured["snr"]
        at_dm0 = {
            "dm0_share": snr / (snr + 1),
            "dm0_less": 0.0,
            "dm0_likelihood": 0.0,
            "dm0_too_much": 0.9 * snr,
            "dm0_less_than_impulse": 0.0,
        }
        impulse = example.measured | at_dm0
        found = SHIPPED.score(example.freq_time, example.dm_time, impulse)
        assert found.freq_time < score(example).freq_time
        assert found.dm_time == score(example).dm_time


def test_the_first_probability_is_by_both_arrays(
    bursts: list[Example], pieces: list[Example]
) -> None:
    strong = [example for example in bursts if example.snr >= 10][: len(pieces)]
    mixed = [
        SHIPPED.score(one.freq_time, other.dm_time).freq_time
        for one, other in zip(strong, pieces, strict=False)
    ]
    own = [score_of_arrays(example).freq_time for example in strong]
    assert np.median(mixed) < 0.9 * np.median(own)


def test_examples_are_reproducible() -> None:
    for number in (4, 25):
        once, again = ([*examples(SEED, range(number, number + 1), full_size=0)] for _ in range(2))
        assert len(once) == len(again)
        for one, other in zip(once, again, strict=True):
            np.testing.assert_array_equal(one.freq_time, other.freq_time)
            np.testing.assert_array_equal(one.dm_time, other.dm_time)


def test_a_file_is_read_as_it_was_written(tmp_path: Path, bursts: list[Example]) -> None:
    path = tmp_path / "mine.npz"
    save_features(load_features(None), path)
    again = load_classifier(path)
    for example in bursts[:6]:
        assert score(example, again) == score(example)
        assert score_of_arrays(example, again) == score_of_arrays(example)


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Features have kept their names: a classifier that somebody trained works on."""
    path = tmp_path / "theirs.npz"
    columns: dict[str, np.ndarray] = {}
    for kind, names in (("freq_time", OF_BOTH), ("dm_time", OF_DM_TIME)):
        # A tree of one branch for each feature.
        count = len(names)
        columns[f"{kind}.names"] = np.array(names)
        columns[f"{kind}.start"] = np.float64(-1.0)
        columns[f"{kind}.feature"] = np.repeat(np.arange(count)[:, None], 3, axis=1).astype("i2")
        columns[f"{kind}.threshold"] = np.zeros((count, 3), dtype=np.float32)
        columns[f"{kind}.left"] = np.tile(np.array([1, 1, 2], dtype=np.int16), (count, 1))
        columns[f"{kind}.right"] = np.tile(np.array([2, 1, 2], dtype=np.int16), (count, 1))
        columns[f"{kind}.value"] = np.tile(np.array([0, -0.01, 0.02], dtype="f4"), (count, 1))
    np.savez_compressed(path, **columns)
    array = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    theirs = load_classifier(path)
    found = theirs.score(array, array)
    assert theirs.score(array, array, dict.fromkeys(EXTRACTION_NAMES, 1.0)) == found
    of_dm = list(dm_time_features(array).values())
    both = [*freq_time_features(array).values(), *of_dm]
    for probability, values in ((found.freq_time, both), (found.dm_time, of_dm)):
        odds = -1 + sum(0.02 if value > 0 else -0.01 for value in values)
        assert probability == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)


def test_scikit_learn_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from darc.candidates.classifier import load_classifier\n"
        "import numpy as np\n"
        "print(load_classifier(None).score(np.eye(64), np.eye(64)).freq_time)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 <= float(done.stdout) <= 1


def test_the_shipped_file_is_small(tmp_path: Path) -> None:
    save_features(load_features(None), tmp_path / "shipped.npz")
    assert (tmp_path / "shipped.npz").stat().st_size < 400_000


def shipped_bytes() -> bytes:
    file = io.BytesIO()
    save_features(load_features(None), file)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no classifier",
        shipped_bytes()[:-200],
        shipped_bytes()[:1000] + bytes(1000) + shipped_bytes()[2000:],
    ],
    ids=["empty", "text", "cut off", "overwritten"],
)
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(ClassifierError, match=r"damaged\.npz: no classifier"):
        load_classifier(path)


def test_a_file_of_other_features(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    save_features(load_features(None), path)
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["dm_time.names"][0] = "colour"
    np.savez_compressed(path, **changed)
    with pytest.raises(ClassifierError, match=r"other\.npz.*not measured: colour"):
        load_classifier(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match=r"gone\.npz"):
        load_classifier(tmp_path / "gone.npz")


def test_what_is_no_candidate() -> None:
    array = np.zeros((64, 64), dtype=np.float32)
    with pytest.raises(ValueError, match=r"shape \(64,\)"):
        SHIPPED.score(array[0], array)
