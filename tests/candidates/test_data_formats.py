"""The same data as filterbank, PSRFITS and DADA: the same candidates, and the same waiting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from beams import HEADER, N_CHANNELS, TSAMP, burst, job, samples, settings
from msgspec.structs import replace
from process_here import RunHere

from darc.candidates.data_availability import BeamAvailability, last_sample
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.file_clock import DataTimes
from darc.candidates.file_search import dm_limit, plan_search
from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.results.trigger_lists import read_triggers
from darc.data_files.data_source import DataSource, paths_of, source_of
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.data_files.open_data_file import open_data_file
from darc.model.arrival import unix_of
from darc.model.processing_outcome import ClusterOutcome

PULSES = [burst(2.0, dm=300.0, snr=25.0), burst(4.5, dm=150.0, width=10, snr=18.0)]
PER_ROW, N_ROWS = 500, 14
LEVELS = HEADER.frequencies


def quantised(n_bits: int) -> np.ndarray:
    """Samples of few bits, whose noise is the same number of levels in all channels."""
    centre, sigma = {2: (1.5, 0.8), 4: (7.5, 2.5), 8: (100.0, 8.0)}[n_bits]
    data = (samples(PULSES, PER_ROW * N_ROWS).astype(float) - 100) / 8 * sigma + centre
    return np.clip(np.rint(data), 0, 2**n_bits - 1).astype(int)


def write_filterbank(path: Path, codes: np.ndarray, n_bits: int) -> Path:
    with FilterbankWriter(path, replace(HEADER, nbits=n_bits, source_name="made")) as file:
        file.append(codes)
    return path


def write_psrfits(path: Path, codes: np.ndarray, n_bits: int, first_row: int = 0) -> Path:
    """With scales that differ by a factor of 50 between channels, as those of a receiver do."""
    rows = codes.reshape(-1, PER_ROW * N_CHANNELS)
    bits = (rows[:, :, None] >> np.arange(n_bits - 1, -1, -1)) & 1
    packed = np.packbits(bits.astype(np.uint8).reshape(len(rows), -1), axis=1)
    gains = np.random.default_rng(1).uniform(1, 50, N_CHANNELS)
    per_row = {"DAT_FREQ": LEVELS, "DAT_WTS": np.ones(N_CHANNELS), "DAT_OFFS": gains * 10}
    per_row["DAT_SCL"] = gains
    columns = [
        fits.Column(
            name,
            f"{N_CHANNELS}{'D' if name == 'DAT_FREQ' else 'E'}",
            array=np.tile(values, (len(rows), 1)),
        )
        for name, values in per_row.items()
    ]
    columns.append(fits.Column("DATA", f"{packed.shape[1]}B", array=packed))
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update(
        NBITS=n_bits, NCHAN=N_CHANNELS, NPOL=1, NSBLK=PER_ROW, TBIN=TSAMP, ZERO_OFF=1.5
    )
    table.header.update(POL_TYPE="AA+BB", NSUBOFFS=first_row)
    first = fits.PrimaryHDU()
    first.header.update(FITSTYPE="PSRFITS", OBS_MODE="SEARCH", SRC_NAME="made")
    first.header.update(STT_IMJD=59000, STT_SMJD=0, STT_OFFS=0.0)
    fits.HDUList([first, table]).writeto(path)
    return path


def write_dada(path: Path, codes: np.ndarray) -> Path:
    keys = {"HDR_SIZE": 4096, "NBIT": 8, "NCHAN": N_CHANNELS, "NPOL": 1, "NDIM": 1, "ORDER": "TF"}
    keys |= {"TSAMP": TSAMP * 1e6, "BW": HEADER.foff * N_CHANNELS, "SOURCE": "made"}
    keys |= {"FREQ": float(LEVELS.mean()), "UTC_START": "2020-05-31-00:00:00"}
    text = "".join(f"{key} {value}\n" for key, value in keys.items())
    path.write_bytes(text.encode().ljust(4096, b"\0") + codes.astype(np.uint8).tobytes())
    return path


def searched(source: DataSource) -> np.ndarray:
    with open_data_file(source) as file:
        found = [
            part.run()
            for part in plan_search(
                file,
                observation="x",
                dm_min=100.0,
                dm_max=350.0,
                snr_min=8.0,
                mask=None,
                clip=(3.25, 3),
                isolated=True,
            )
        ]
    return np.concatenate([records for records in found if records is not None])


def in_files(path: Path, name: str) -> BeamFiles:
    return BeamFiles(path, 0, 1, patterns=(name,))


@pytest.mark.parametrize("n_bits", [2, 4, 8])
def test_the_same_candidates_are_found_and_extracted(tmp_path: Path, n_bits: int) -> None:
    codes = quantised(n_bits)
    sources: dict[str, DataSource] = {
        "a.fil": write_filterbank(tmp_path / "a.fil", codes, n_bits),
        "a.sf": write_psrfits(tmp_path / "a.sf", codes, n_bits),
    }
    parts = [
        write_psrfits(
            tmp_path / f"p_{row:02d}.sf", codes[row * PER_ROW : end * PER_ROW], n_bits, row
        )
        for row, end in ((0, 3), (3, 9), (9, N_ROWS))
    ]
    sources["p_*.sf"] = source_of(parts)
    if n_bits == 8:
        sources["a.dada"] = write_dada(tmp_path / "a.dada", codes)
    expected = searched(sources["a.fil"])
    assert {round(float(time)) for time in expected["time"]} >= {2, 4}
    for name, source in sources.items():
        found = searched(source)
        assert len(found) == len(expected), name
        for key in ("time", "dm", "downsampling"):
            assert (found[key] == expected[key]).all(), (name, key)
        assert found["snr"] == pytest.approx(expected["snr"], rel=5e-3), name
    for pulse in PULSES:
        listed = {}
        for name in sources:
            outcome = extract_candidate(job(in_files(tmp_path, name), pulse))
            assert outcome.listed is not None, (name, outcome.reason)
            listed[name] = outcome.listed
        for name, one in listed.items():
            assert one.snr == pytest.approx(listed["a.fil"].snr, rel=0.01), name
            assert one.time == pytest.approx(listed["a.fil"].time, abs=2 * TSAMP), name
            assert one.downsampling == listed["a.fil"].downsampling, name


@pytest.mark.parametrize("name", ["a.sf", "a.dada", "a.fil"])
def test_a_pulse_waits_until_its_last_sample_is_there(tmp_path: Path, name: str) -> None:
    codes, pulse, rules = quantised(8), burst(2.0, dm=300.0), settings().extractor
    needed = last_sample(HEADER, pulse, rules)
    write = {
        "a.sf": lambda path, data: write_psrfits(path, data, 8),
        "a.dada": write_dada,
        "a.fil": lambda path, data: write_filterbank(path, data, 8),
    }[name]
    beam = BeamAvailability(in_files(tmp_path, name))
    assert beam.poll() == ()
    assert not beam.has(pulse, [0], rules)
    whole = -(-int(needed + 1) // PER_ROW) * PER_ROW
    content = write(tmp_path / name, codes[:whole]).read_bytes()
    for there in (10, 100, 4000, len(content) // 2, len(content) * 4 // 5):
        (tmp_path / name).write_bytes(content[:there])
        beam.poll()
        assert not beam.has(pulse, [0], rules)
    (tmp_path / name).write_bytes(content)
    beam.poll()
    assert beam.has(pulse, [0], rules)


def test_the_next_file_is_waited_for(tmp_path: Path) -> None:
    codes, pulse, rules = quantised(8), burst(2.0, dm=300.0), settings().extractor
    beam = BeamAvailability(in_files(tmp_path, "a_*.sf"))
    write_psrfits(tmp_path / "a_1.sf", codes[: 4 * PER_ROW], 8)
    beam.poll()
    assert not beam.has(pulse, [0], rules)
    (tmp_path / "a_2.sf").touch()  # begun, without a header yet
    beam.poll()
    assert not beam.has(pulse, [0], rules)
    (tmp_path / "a_2.sf").unlink()
    write_psrfits(tmp_path / "a_2.sf", codes[4 * PER_ROW :], 8, 4)
    beam.poll()
    assert beam.has(pulse, [0], rules)


def test_files_of_another_day_in_the_directory_change_nothing(tmp_path: Path) -> None:
    """As where all observations of a backend are in one directory."""
    codes, pulse, rules = quantised(8), PULSES[0], settings().extractor
    for number in range(2):
        part = codes[7 * PER_ROW * number : 7 * PER_ROW * (number + 1)]
        write_psrfits(tmp_path / f"a_{number + 4}.sf", part, 8, 7 * number)
        old = write_psrfits(tmp_path / f"a_{number + 1}.sf", part, 8, 7 * number)
        with fits.open(old, mode="update") as file:
            file[0].header["STT_IMJD"] = 58999
    files = in_files(tmp_path, "a_*.sf")
    assert extract_candidate(job(files, pulse)).fate is ClusterOutcome.FAILED
    start = unix_of(59000.0)
    files = replace(files, times=DataTimes(span=(start, start + 7.0)))
    assert [path.name for path in paths_of(files.paths()[0])] == ["a_4.sf", "a_5.sf"]
    beam = BeamAvailability(files)
    beam.poll()
    assert beam.has(pulse, [0], rules)
    outcome = extract_candidate(job(files, pulse))
    assert outcome.listed is not None, outcome.reason


def test_at_the_boundary_of_two_files_nothing_is_lost(tmp_path: Path) -> None:
    codes, pulse, rules = quantised(8), PULSES[0], settings().extractor
    write_psrfits(tmp_path / "a_1.sf", codes[: 10 * PER_ROW], 8)
    (tmp_path / "a_2.sf").touch()
    files = in_files(tmp_path, "a_*.sf")
    beam = BeamAvailability(files)
    beam.poll()
    assert beam.has(pulse, [0], rules)
    outcome = extract_candidate(job(files, pulse))
    assert outcome.listed is not None, outcome.reason


def test_the_command_takes_several_files_and_tells_of_others(
    tmp_path: Path, run_here: RunHere
) -> None:
    codes, out = quantised(4), tmp_path / "out"
    first, second = (
        write_psrfits(tmp_path / f"a_{number}.sf", codes[begin:end], 4, begin // PER_ROW)
        for number, begin, end in ((1, 0, 2000), (2, 2000, len(codes)))
    )
    table = tmp_path / "t.txt"
    table.write_text("#snr dm time downsamp sb\n25.00 300.00 2.000 4 0\n18.00 150.00 4.500 10 0\n")
    alone = run_here(first, table, "--output", out)
    assert f"{second} continues {first}: --sequence processes it, too" in alone.stderr
    for words in ((first, table, "--sequence"), (first, second, table), (second, first, table)):
        made = tmp_path / f"out_{words[0].stem}"
        done = run_here(*words, "--output", made)
        assert done.returncode == 0, done.stderr
        assert "continues" not in done.stderr
        rows = read_triggers(made / "CB00_triggers.txt")
        assert sorted(round(row.time, 1) for row in rows) == [2.0, 4.5]


def test_a_row_that_is_refused_costs_the_search_no_other(tmp_path: Path, run_here: RunHere) -> None:
    path = write_psrfits(tmp_path / "a.sf", quantised(8), 8)
    with fits.open(path, mode="update") as file:
        file["SUBINT"].data["DAT_SCL"][11, 3] = np.nan
    out = tmp_path / "out"
    done = run_here(path, "--dm-max", "400", "--output", out)
    assert done.returncode == 1  # not all was searched
    assert "a.sf: row 12: DAT_SCL of channel 4, polarisation 1: nan; allowed: " in done.stderr
    rows = read_triggers(out / "CB00_triggers.txt")
    assert sorted(round(row.time, 1) for row in rows) == [2.0, 4.5]


@pytest.mark.parametrize("n_files", [1, 2])
def test_a_row_that_is_refused_is_zeros_for_an_extraction_that_says_so(
    tmp_path: Path, n_files: int
) -> None:
    codes, pulse = quantised(8), PULSES[0]
    cut = 6 if n_files > 1 else N_ROWS
    path = write_psrfits(tmp_path / "p_0.sf", codes[: cut * PER_ROW], 8)
    if n_files > 1:
        write_psrfits(tmp_path / "p_1.sf", codes[cut * PER_ROW :], 8, cut)
    whole = extract_candidate(job(in_files(tmp_path, "p_*.sf"), pulse))
    with fits.open(path, mode="update") as file:
        file["SUBINT"].data["DAT_SCL"][3, 3] = np.nan  # from 1.5 s on; the pulse is at 2 s
    found = extract_candidate(job(in_files(tmp_path, "p_*.sf"), pulse))
    assert found.fate is ClusterOutcome.KEPT, found.reason
    assert "p_0.sf: row 4: DAT_SCL of channel 4, polarisation 1: nan; allowed: " in found.reason
    assert found.reason.endswith("; zeros stand for it")
    assert whole.listed is not None
    assert found.listed is not None
    assert found.listed.snr == pytest.approx(whole.listed.snr, rel=0.05)
    assert found.listed.time == pytest.approx(whole.listed.time, abs=2 * TSAMP)
    # One that is not in what was read is not told.
    assert not extract_candidate(job(in_files(tmp_path, "p_*.sf"), PULSES[1])).reason
    # Where the pulse itself was not recorded, it is not in the data.
    with fits.open(path, mode="update") as file:
        file["SUBINT"].data["DAT_WTS"][:] = -1.0
    gone = extract_candidate(job(in_files(tmp_path, "p_*.sf"), pulse))
    assert gone.fate is not ClusterOutcome.KEPT
    assert "row 4: DAT_WTS of channel 1: -1.0" in gone.reason


def test_dms_for_which_the_file_is_too_short_are_told(tmp_path: Path, run_here: RunHere) -> None:
    path = write_filterbank(tmp_path / "a.fil", quantised(8)[:400], 8)
    with open_data_file(path) as file:
        limit = dm_limit(file.band, 400 * TSAMP)
    done = run_here(path, "--dm-max", f"{limit + 50:.1f}", "--output", tmp_path / "out")
    assert f"above DM {limit:.1f} a pulse takes longer to cross the band than" in done.stderr


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("parkes_4bit.sf", 0, "IFs 1, 2 are added"),
        ("small.fits", 1, "no channel varies"),  # all but 10 of its samples are 0
        ("test_4pol.fits", 1, "in 0.004096 s a pulse crosses the band up to DM 1.4"),
    ],
)
def test_files_of_telescopes(
    shared_data: Path, tmp_path: Path, run_here: RunHere, name: str, status: int, words: str
) -> None:
    done = run_here(shared_data / "psrfits" / name, "--output", tmp_path / "out")
    assert done.returncode == status, done.stderr
    assert words in done.stderr
