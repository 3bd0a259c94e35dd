"""Drift scans of calibrators: power against time, spectrum and sensitivity of each TAB."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from darc.candidates.results.plot_style import GREY, INK, own_style, printed, source_text
from darc.config.records import Struct
from darc.config.yaml_tree import yaml_text
from darc.data_files.data_file_error import DataFileError
from darc.data_files.data_source import DataSource
from darc.data_files.open_data_file import open_data_file
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import arrival_text, sampling
from darc.model.offline_tables import Calibrator
from darc.offline.drift_scan_names import DriftName
from darc.offline.figures import band_edges, write_figure
from darc.offline.file_stream import blocks, n_samples
from darc.runtime.paths import write_whole
from darc.science.arrays import Doubles
from darc.science.downsample import channel_groups
from darc.science.drift_scan import Passage, clean_series, deflections, fit_passage, flux_density
from darc.science.time_major import mean_spectrum

#: Minimum significance of a deflection (standard deviations).
DETECTED = 8.0
#: Maximum number of channels of a spectrum, and of values of an array.
_MAX_CHANNELS, _MAX_NUMBERS = 1536, 8_000_000
_YEAR = 365.25 * 86400.0


class BeamDrift(Struct, frozen=True, eq=False):
    """Drift scan of a source through a TAB.

    :param times: s since the first sample, shape (n_times,)
    :param series: relative power of the band, shape (n_times,)
    :param frequencies: MHz, ascending, shape (n_channels,)
    :param passage: fit to the series; None: the source was not detected
    :param flux_density: of the source at the band's centre, Jy
    :param sefd: SEFD of the band, Jy; None: the source was not detected
    :param spectrum: SEFD of the channels, Jy, NaN if unknown, shape (n_channels,)
    :param part_used: fraction of channels used, 0 to 1
    """

    tab: int
    times: Doubles
    series: Doubles
    frequencies: Doubles
    passage: Passage | None
    flux_density: float
    sefd: float | None
    spectrum: Doubles
    part_used: float


def measure_beam(
    path: DataSource, tab: int, calibrator: Calibrator, *, start: float, time_bin: float
) -> BeamDrift:
    """Measure one TAB.

    :param calibrator: flux density of the source
    :param start: start of the observation, Unix s
    :param time_bin: s
    :raises DataFileError: the file is not a data file, or too short
    :raises ValueError: the data have no power
    :raises OSError: the file cannot be read
    """
    times, powers, frequencies, centre = read_powers(path, time_bin)
    if len(times) < 8:
        raise DataFileError(
            f"{path}: {len(times)} times of {time_bin} s are too few for a drift scan"
        )
    series, good = clean_series(powers)
    passage: Passage | None = fit_passage(times, series)
    years = 0.0
    if calibrator.epoch is not None:
        years = 1970.0 + start / _YEAR - calibrator.epoch
    known = {"years": years, "change": calibrator.change}
    band_flux = float(flux_density([centre], calibrator.coefficients, **known)[0])
    spectrum = np.full(len(frequencies), np.nan)
    sefd = None
    if passage is not None and _is_seen(passage, times):
        ratios = np.where(good, deflections(times, powers, passage), np.nan)
        fluxes = flux_density(frequencies, calibrator.coefficients, **known)
        seen = ratios > 0
        spectrum[seen] = fluxes[seen] / ratios[seen]
        sefd = band_flux / passage.deflection
    else:
        passage = None
    part = float(good.mean())
    return BeamDrift(tab, times, series, frequencies, passage, band_flux, sefd, spectrum, part)


def _is_seen(passage: Passage, times: Doubles) -> bool:
    """Whether the peak is within the data, and significant."""
    inside = times[0] <= passage.centre <= times[-1]
    return bool(inside and passage.deflection > 0 and passage.significance >= DETECTED)


def read_powers(path: DataSource, time_bin: float) -> tuple[Doubles, Doubles, Doubles, float]:
    """Return the mean power in bins of time and groups of channels.

    :param time_bin: s
    :return: times (s), powers, shape (n_times, n_channels), frequencies (MHz, ascending), and the
        band's centre (MHz)
    """
    with open_data_file(path) as file:
        header = file.header
        per_bin = max(1, round(time_bin / header.tsamp))
        n_times = n_samples(file) // per_bin
        n_groups = min(header.nchans, _MAX_CHANNELS, max(1, _MAX_NUMBERS // max(n_times, 1)))
        starts = channel_groups(header.nchans, n_groups)[:-1]
        columns = np.argsort(header.frequencies)
        sizes = np.diff(np.append(starts, header.nchans))
        powers = np.empty((n_times, n_groups))
        for number in range(n_times):
            total, seen = np.zeros(header.nchans), 0
            for _, data in blocks(file, number * per_bin, (number + 1) * per_bin):
                total += mean_spectrum(data, columns, np.zeros(len(data), bool)) * len(data)
                seen += len(data)
            powers[number] = np.add.reduceat(total / seen, starts) / sizes
        frequencies = np.sort(header.frequencies)
        groups = np.asarray(np.add.reduceat(frequencies, starts) / sizes, dtype=np.float64)
        times = np.asarray((np.arange(n_times) + 0.5) * per_bin * header.tsamp, dtype=np.float64)
        return times, powers, groups, file.band.f_centre


def write_drift(
    base: Path,
    drift: DriftName,
    calibrator: Calibrator,
    beams: Sequence[BeamDrift],
    cb: int,
    reference: ArrivalReference,
) -> list[Path]:
    """Write power against time of each TAB, a plot of all, and the numbers.

    :param base: path without its suffix
    :return: the files
    :raises OSError: a file cannot be written
    """
    written = []
    for beam in beams:
        path = base.with_name(f"{base.name}_{beam.tab:02d}.npy")
        memory = io.BytesIO()
        np.save(memory, np.stack([beam.times, beam.series], axis=1))
        write_whole(path, memory.getvalue())
        written.append(path)
    with own_style():
        written += write_figure(_figure(drift, beams, cb, reference), base)
    path = base.with_name(f"{base.name}.yaml")
    values = {
        "calibrator": drift.calibrator,
        "cb": cb,
        "flux_density_jy": round(beams[0].flux_density, 4) if beams else None,
        "resolved": calibrator.size > 0,
        "tabs": {beam.tab: _numbers(beam) for beam in beams},
    }
    write_whole(path, yaml_text(values))
    return [*written, path]


def _numbers(beam: BeamDrift) -> dict[str, Any]:
    passage = beam.passage
    if passage is None or beam.sefd is None:
        return {"detected": False, "sefd_jy": None}
    return {
        "detected": True,
        "sefd_jy": round(beam.sefd, 3),
        "sefd_error_jy": round(beam.sefd / passage.significance, 3),
        "deflection": float(f"{passage.deflection:.5g}"),
        "time_s": round(passage.centre, 3),
        "fwhm_s": round(passage.fwhm, 3),
        "part_used": round(beam.part_used, 4),
    }


def _figure(
    drift: DriftName, beams: Sequence[BeamDrift], cb: int, reference: ArrivalReference
) -> Figure:
    n_rows = max(1, len(beams))
    figure = Figure(figsize=(11, max(4.0, 1.6 * n_rows + 0.8)), layout="constrained")
    title = f"{printed(drift.calibrator)} through CB{cb:02d}"
    if beams and beams[0].flux_density:
        title += f", {beams[0].flux_density:.4g} Jy at the centre of the band"
    when = arrival_text(reference, 0.0)
    said = (source_text(reference), f"sampling {sampling(reference.tsamp)}", when)
    title += "\n" + "   ".join(filter(None, said))
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(n_rows, 2, squeeze=False)
    for (left, right), beam in zip(axes, beams, strict=False):
        left.plot(beam.times, beam.series, color=INK, linewidth=0.8)
        label = "not seen"
        if beam.passage is not None and beam.sefd is not None:
            fit = 1 + beam.passage.deflection * beam.passage.shape(beam.times)
            left.plot(beam.times, fit * np.median(beam.series / fit), color="tab:red")
            label = f"SEFD {beam.sefd:.1f} Jy"
        left.set_ylabel(f"TAB {beam.tab:02d}")
        left.set_title(label, loc="right", fontsize=9)
        known = np.isfinite(beam.spectrum)
        if known.any():
            right.plot(beam.frequencies[known], beam.spectrum[known], ".", color=INK, markersize=2)
            right.axhline(beam.sefd or math.nan, color=GREY, linestyle=":")
            low, high = np.percentile(beam.spectrum[known], (5, 95))
            right.set_ylim(max(0.0, low - (high - low)), high + (high - low) + 1e-9)
        else:
            right.set_yticks([])
        right.set_xlim(band_edges(beam.frequencies))
        right.set_ylabel("SEFD (Jy)", fontsize=9)
        # Frequencies without an offset.
        right.ticklabel_format(axis="x", style="plain", useOffset=False)
        right.locator_params(axis="x", nbins=6)
    axes[0][0].set_title("power, relative", loc="left", fontsize=9)
    axes[-1][0].set_xlabel("Time since the start (s)")
    axes[-1][1].set_xlabel("Frequency (MHz)")
    return figure
