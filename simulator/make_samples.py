"""Generator of the packaged samples: a filterbank with one pulse, its triggers, a parset.

python -m simulator.make_samples DIR [--seed N]

Nothing in them was recorded: noise and pulse are simulated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.science.dedispersion import Band
from simulator.synthetic_pulse import synthetic_pulse
from simulator.write_parsets import write_observation

FILTERBANK, TRIGGERS, PARSET = "sample.fil", "sample.trigger", "sample.parset"
#: 2019-05-18 12:34:56 UTC, as Unix time and as MJD.
START, MJD = 1558182896.0, 58621.5242592593
HEADER = FilterbankHeader(
    nchans=64,
    nbits=8,
    tsamp=1e-3,
    fch1=1517.65625,
    foff=-4.6875,
    tstart=MJD,
    source_name="SAMPLE",
    src_raj=125126.0,
    src_dej=270742.0,
)
SECONDS = 4.0
#: The pulse: s, pc cm-3, samples, S/N.
TIME, DM, WIDTH, SNR = 2.1, 352.0, 4, 40.0
_MEAN, _SIGMA = 100.0, 12.0


def write_samples(directory: Path, seed: int = 2019) -> None:
    """Write the three files.

    :raises OSError: they cannot be written
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILTERBANK).unlink(missing_ok=True)
    with FilterbankWriter(directory / FILTERBANK, HEADER) as file:
        file.append(_data(seed))
    (directory / TRIGGERS).write_text(
        "# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM"
        " compacted_DMs SNR\n"
        f"0 1 0 {WIDTH} 2 {TIME:.4f} 700 {DM:.2f} 10 {SNR:.2f}\n"
        f"0 1 0 {WIDTH} 2 {TIME - 0.002:.4f} 699 {DM - 0.4:.2f} 10 {SNR * 0.7:.2f}\n"
    )
    (directory / PARSET).write_text(_parset(directory))


def _data(seed: int) -> np.ndarray:
    n_samples = round(SECONDS / HEADER.tsamp)
    band = Band(HEADER.f_lowest, HEADER.channel_width, HEADER.nchans)
    data = np.random.default_rng(seed).normal(_MEAN, _SIGMA, (HEADER.nchans, n_samples))
    height = _SIGMA * SNR / np.sqrt(HEADER.nchans * WIDTH)
    arrival = TIME / HEADER.tsamp
    data += height * synthetic_pulse(
        band, HEADER.tsamp, dm=DM, width=WIDTH, arrival=arrival, n_samples=n_samples
    )
    # The file has the highest channel first.
    return np.clip(np.rint(data[::-1].T), 0, 255).astype(np.uint8)


def _parset(directory: Path) -> str:
    """Return the parset of a worker, with typical directories."""
    place = directory / "observation"
    made = write_observation(
        place,
        task_id="190518009",
        source="SAMPLE",
        start=START,
        duration=SECONDS,
        pointing=(192.859, 27.128),
    )
    text = made.parset.read_text().replace(str(place), "/data/190518009")
    for path in (made.parset, place / "amber.conf"):
        path.unlink()
    made.amber_dir.rmdir()
    place.rmdir()
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m simulator.make_samples", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=2019, metavar="N", help="of the noise")
    options = parser.parse_args(arguments)
    write_samples(options.directory, options.seed)


if __name__ == "__main__":
    main()
