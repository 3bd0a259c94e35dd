"""Generated trigger files hold what their truth says, as AMBER would write it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from msgspec.structs import replace

from darc.model.candidate import Records
from darc.trigger_files.amber import Columns, parse_lines
from simulator import generator
from simulator.amber_files import format_header
from simulator.bursts import dm_response
from simulator.generator import (
    AmberSearch,
    Burst,
    Generated,
    make_observation_candidates,
    random_bursts,
)

SEARCH = AmberSearch()
DURATION = 30.72  # 30 batches
BURST = Burst(time_s=10.0003, dm=500.1, width_samples=10, snr=30.0, beam=5)


def make(bursts: Sequence[Burst] = (BURST,), rate: float = 0, seed: int = 1) -> Generated:
    return make_observation_candidates(bursts, duration=DURATION, seed=seed, interference_rate=rate)


def read(lines: Sequence[tuple[float, bytes]]) -> Records:
    data = b"".join(line for _, line in lines)
    columns = Columns.from_header(format_header())
    parsed = parse_lines(data, columns, batch_length_s=SEARCH.batch_length_s, tsamp=SEARCH.tsamp)
    assert parsed.rejected == {}
    return parsed.candidates


def test_the_same_seed_makes_the_same_lines_and_another_one_others() -> None:
    assert make(rate=5) == make(rate=5)
    assert make(rate=5) != make(rate=5, seed=2)
    assert random_bursts(5, 60, (100, 900), 1) == random_bursts(5, 60, (100, 900), 1)


def test_the_brightest_line_is_the_burst() -> None:
    generated = make()
    (truth,) = generated.truth
    candidates = read(generated.instances[0])
    best = candidates[np.argmax(candidates["snr"])]
    assert truth.instance == 1
    assert truth.lines == len(candidates)
    assert (best["beam"], best["downsampling"]) == (5, 10)
    assert (truth.dm, truth.downsampling) == (best["dm"], 10)
    assert abs(best["dm"] - BURST.dm) <= 0.1 + 1e-9
    assert best["time"] == pytest.approx(truth.time, abs=1e-9)
    assert 0 <= BURST.time_s - truth.time < 11 * SEARCH.tsamp  # start of the bin
    assert 29 < best["snr"] <= 30


def test_a_burst_shows_at_other_dms_widths_and_beams() -> None:
    candidates = read(make().instances[0])
    for field in ("dm", "downsampling", "beam", "time"):
        assert len(np.unique(candidates[field])) >= 3, field
    assert candidates["snr"].min() >= SEARCH.snr_min


def test_a_trial_dm_that_is_too_low_sees_a_burst_later() -> None:
    candidates = read(make([replace(BURST, snr=300.0)]).instances[0])
    same = candidates[(candidates["beam"] == 5) & (candidates["downsampling"] == 10)]
    slope, _ = np.polyfit(same["dm"], same["time"], 1)
    # Centre against top of the band, 1369.6 and 1519.6 MHz: 0.415 ms per pc cm-3.
    assert slope == pytest.approx(-0.415e-3, rel=0.05)


def test_the_response_to_a_wrong_dm() -> None:
    """Cordes & McLaughlin (2003): half is left at zeta of 1.77; flat and even at the centre."""
    zeta = 6.91e-3 * 300 / (1.0 * 1.4**3)
    assert dm_response(0, 1.0, 1400, 300) == 1
    assert dm_response(1.77 / zeta, 1.0, 1400, 300) == pytest.approx(0.5, abs=0.01)
    assert dm_response(-3, 1.0, 1400, 300) == dm_response(3, 1.0, 1400, 300)
    assert dm_response(1e-7, 1.0, 1400, 300) == pytest.approx(1)
    assert dm_response(30, 10.0, 1400, 300) == dm_response(3, 1.0, 1400, 300)


def test_lines_are_due_when_their_batch_is_complete_and_not_in_order_of_time() -> None:
    generated = make(rate=20)
    for lines in generated.instances:
        candidates = read(lines)
        dues = np.array([due for due, _ in lines])
        assert np.all(np.diff(dues) >= 0)
        batch = np.floor(candidates["time"] / SEARCH.batch_length_s + 1e-9)
        np.testing.assert_allclose(dues, (batch + 1) * SEARCH.batch_length_s)
    assert np.any(np.diff(read(generated.instances[0])["time"]) < 0)


@pytest.mark.parametrize(("dm", "instance"), [(100.0, 1), (1200.0, 2), (2500.0, 3)])
def test_each_instance_has_its_dms(dm: float, instance: int) -> None:
    generated = make([replace(BURST, dm=dm)])
    assert generated.truth[0].instance == instance
    assert [bool(lines) for lines in generated.instances] == [i == instance for i in (1, 2, 3)]


def test_a_burst_between_two_instances_is_in_both() -> None:
    generated = make([replace(BURST, dm=820.0)])
    assert [bool(lines) for lines in generated.instances] == [True, True, False]


@pytest.mark.parametrize(
    "burst",
    [replace(BURST, dm=3500.0), replace(BURST, time_s=DURATION + 1), replace(BURST, snr=7.0)],
)
def test_a_burst_that_amber_would_not_find_is_refused(burst: Burst) -> None:
    with pytest.raises(ValueError, match="not within reach"):
        make([burst])


def test_less_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="less than a batch"):
        make_observation_candidates([], duration=1.0, seed=1)


@pytest.mark.parametrize("beam", [0, 35, 70])
def test_synthesised_beams_repeat_every_twelve(beam: int) -> None:
    """The filter of reference/candidates.md keeps it: the best lag from 2 on is 12."""
    search = AmberSearch(beams=71, beam_period=12)
    generated = make_observation_candidates(
        [replace(BURST, beam=beam)], duration=DURATION, seed=1, interference_rate=0, search=search
    )
    candidates = read(generated.instances[0])
    best = candidates[np.argmax(candidates["snr"])]
    near = candidates[
        (candidates["time"] == best["time"]) & (np.abs(candidates["dm"] - best["dm"]) <= 20)
    ]
    snr_per_beam = np.zeros(71)
    np.maximum.at(snr_per_beam, near["beam"], near["snr"])
    correlation = np.correlate(snr_per_beam, snr_per_beam, "full")[70:]
    assert 2 + np.argmax(correlation[2:]) == 12
    assert best["beam"] == beam


def test_interference_is_broad_faint_and_low() -> None:
    generated = make([], rate=30)
    candidates = read([line for lines in generated.instances for line in lines])
    assert len(candidates) == pytest.approx(30 * DURATION, abs=4 * math.sqrt(30 * DURATION))
    assert candidates["downsampling"].min() >= 250
    assert np.median(candidates["dm"]) < 60
    assert np.median(candidates["snr"]) < 10
    assert len(np.unique(candidates["beam"])) == 12
    assert all(generated.instances)


def test_random_bursts_keep_apart() -> None:
    edges = (325.0, 488.0, 733.0)
    bursts = random_bursts(
        12, 60, (200, 1000), 3, separation=3, dm_edges=edges, dm_margin=20, window=1.0,
        window_offset=0.5, window_margin=0.3,
    )  # fmt: skip
    times = np.array([burst.time_s for burst in bursts])
    assert np.diff(times).min() >= 3
    assert times.min() >= 2
    assert times.max() <= 58
    phases = (times - 0.5) % 1.0
    assert phases.min() >= 0.3
    assert phases.max() <= 0.7
    assert all(abs(burst.dm - edge) >= 20 for burst in bursts for edge in edges)
    assert all(200 <= burst.dm <= 1000 for burst in bursts)


def test_no_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="no room for 9 bursts"):
        random_bursts(9, 20, (200, 1000), 1, separation=3)
    with pytest.raises(ValueError, match="no room"):
        random_bursts(1, 3, (200, 1000), 1)


def test_the_command_writes_files_and_truth(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--bursts", "3", "--duration", "20", "--seed", "4", "--beam", "7"]
    generator.main(arguments)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"CB07_step{i}.trigger" for i in (1, 2, 3)), "truth.yaml"]
    truth = yaml.safe_load((tmp_path / "truth.yaml").read_text())
    assert len(truth["bursts"]) == 3
    for burst in truth["bursts"]:
        path = tmp_path / f"CB07_step{burst['instance']}.trigger"
        header, _, body = path.read_bytes().partition(b"\n")
        assert header + b"\n" == format_header()
        candidates = read([(0, body)])
        (line,) = candidates[np.isclose(candidates["snr"], burst["snr"], rtol=1e-5)]
        assert line["time"] == pytest.approx(burst["time"], abs=1e-9)
        assert line["beam"] == burst["burst"]["beam"]
    with pytest.raises(SystemExit):
        generator.main(arguments)  # never over what is there
