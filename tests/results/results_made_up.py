"""Candidates and observations that nobody has observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from msgspec.structs import replace

from darc.candidates.results.candidate_file import write_candidate
from darc.candidates.results.pictures import Pictures
from darc.candidates.results.trigger_lists import listed
from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.observation import Observation, Pointing
from darc.model.processing_outcome import (
    NOTHING_SEARCHED,
    Detection,
    FrequencyRange,
    Measurement,
    ProcessedCandidate,
    ProcessingSummary,
    Score,
)
from darc.model.results import (
    BeamResults,
    BeamState,
    Coordinates,
    ObservationResults,
    ShownCandidate,
)
from darc.science.dispersion import DISPERSION_CONSTANT

BAND = FrequencyRange(1219.7, 1519.5)
#: What times and widths of the candidates refer to.
ARRIVAL = ArrivalReference(
    frequency=1519.505615, start=1558182896.0, tsamp=8.192e-5, telescope="WSRT"
)
SETTINGS = ProcessorVisualizer(
    nfreq=32,
    ntime=64,
    ndm=64,
    nplot_per_side=5,
    figsize=15.0,
    colour_extragal="red",
    colour_gal="orange",
    cmap_freqtime="viridis",
    cmap_dmtime="viridis",
    colour_1dtime="black",
    plot_types=("freq_time", "dm_time", "1d_time"),
)


def candidate(
    seed: int = 0,
    *,
    cb: int = 12,
    dm: float = 560.0,
    snr: float = 23.4,
    probability: float = 0.97,
    time: float = 123.4567,
    downsampling: int = 41,
    nfreq: int = 64,
    ntime: int = 64,
    ndm: int = 64,
) -> ProcessedCandidate:
    """A pulse in noise, as the extraction makes it."""
    rng = np.random.default_rng(seed)
    bin_length = downsampling * 8.192e-5
    half = 10 + 5 * bin_length * 1e3 + dm / 100
    dms = dm - half + 2 * half / ndm * np.arange(ndm)
    frequencies = BAND.low + (np.arange(nfreq) + 0.5) * (BAND.high - BAND.low) / nfreq
    bins = np.arange(ntime)
    spectrum = 1 + 0.6 * np.sin(np.arange(nfreq) / 5 + seed)
    pulse = np.exp(-0.5 * ((bins - ntime // 2) / 0.6) ** 2)
    freq_time = rng.normal(size=(nfreq, ntime))
    freq_time += snr / np.sqrt(nfreq) * spectrum[:, np.newaxis] * pulse
    dm_time = rng.normal(size=(ndm, ntime))
    for row, trial in zip(dm_time, dms, strict=True):
        delays = DISPERSION_CONSTANT * (trial - dm) * (frequencies**-2 - BAND.high**-2)
        shifted = bins[np.newaxis] + (delays / bin_length)[:, np.newaxis]
        row[:] += snr * np.exp(-0.5 * ((shifted - ntime // 2) / 0.6) ** 2).mean(axis=0)
    return ProcessedCandidate(
        cb=cb,
        pulse=Detection(beam=35, downsampling=50, time=time + 0.001, dm=dm, snr=snr * 0.93),
        measured=Measurement(
            snr=snr,
            snr_best=snr,
            snr_dm0=2.1,
            time=time,
            downsampling=downsampling,
            bin_length=bin_length,
            best_dm=dm + 0.4,
        ),
        score=Score(probability, 0.88),
        freq_time=freq_time.astype(np.float32),
        dm_time=dm_time.astype(np.float32),
        dms=dms,
        arrival=ARRIVAL,
        band=BAND,
    )


def several(count: int) -> list[ProcessedCandidate]:
    """Candidates of all kinds, from weak to bright, near and far."""
    rng = np.random.default_rng(count)
    return [
        candidate(
            seed,
            dm=float(rng.uniform(20, 1500)),
            snr=float(8 + rng.pareto(2) * 4),
            probability=float(rng.uniform(0.5, 1)),
            time=float(rng.uniform(0, 3600)),
            downsampling=int(rng.choice([1, 4, 10, 25, 50, 100, 250])),
        )
        for seed in range(count)
    ]


def observation(source: str = "B1933+16", beams: int = 40) -> Observation:
    return Observation(
        task_id="190518009",
        datetimesource=f"2019-05-18-12:34:56.{source}",
        date="20190518",
        source=source,
        start=1558182896.0,
        utc_start="2019-05-18-12:34:56",
        duration=3600.0,
        proctrigger=True,
        enable_iquv=True,
        beam=None,
        beams=tuple(range(beams)),
        source_beam=0,
        pointings=tuple(Pointing(beam, 293.9 + beam * 0.01, 16.3) for beam in range(beams)),
        reference_frame="J2000",
        dishes=("RT2", "RT3"),
        n_dishes=2,
        min_freq=1219.80,
        bandwidth=300.0,
        nchan=1536,
        tsamp=8.192e-5,
        ntabs=12,
        nsynbeams=71,
        science_case=4,
        snrmin=10.0,
        amber_dir="/data/amber",
        amber_config="amber.yaml",
        amber_instances=3,
        amber_conf_dir="/data/conf",
        output_dir="/data/output",
        master_dir="/data/master",
        event_port_i=None,
        event_port_iquv=None,
        config_file="/data/observation.parset",
    )


def in_hour_angle(made: Observation) -> Observation:
    return replace(made, reference_frame="HADEC", pointings=(Pointing(0, -12.5, 16.3),))


def results(directory: Path, count: int = 24) -> ObservationResults:
    """What there is of an observation with a failed beam, and some that are not done."""
    made = observation()
    directory.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(SETTINGS, 133.0, ARRIVAL)
    candidates = []
    for number, made_up in enumerate(several(count)):
        one = replace(made_up, cb=(7 * number) % 40)
        file = write_candidate(directory / f"CB{one.cb:02d}", one)
        picture = file.with_suffix(".png")
        pictures.write(picture, one)
        candidates.append(ShownCandidate(listed(one), picture, file))
    beams = []
    for cb in made.beams:
        state = BeamState.FAILED if cb == 7 else BeamState.DONE
        state = BeamState.WAITING if cb in (21, 22, 39) else state
        summary = (
            ProcessingSummary(30000 + 977 * cb, 210 + cb, 40, 9)
            if state is BeamState.DONE
            else None
        )
        summary = NOTHING_SEARCHED if cb == 3 else summary
        files = []
        if state is BeamState.DONE:
            for name in (f"CB{cb:02d}.pdf", f"CB{cb:02d}_triggers.txt", f"CB{cb:02d}_summary.yaml"):
                files.append(directory / name)
                files[-1].write_text(name)
        galaxy = {} if cb == 14 else {"YMW16": 133.0 + cb}
        beams.append(BeamResults(cb, state, summary, tuple(files), galaxy))
    info = directory / "info.yaml"
    info.write_text("")
    places = tuple(Coordinates(cb, 293.9 + cb, 16.3, 52.4, -2.0) for cb in made.beams if cb != 5)
    return ObservationResults(
        made, False, tuple(beams), places, tuple(candidates), made.end + 600, (info,)
    )


def read_observation(path: Path) -> Observation:
    """The observation in an info.yaml."""
    return Observation.from_plain(yaml.safe_load(path.read_text()))
