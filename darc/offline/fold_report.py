"""Report of a folded pulsar: a plot, and a small YAML file with the numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from darc.candidates.results.plot_style import GREY, INK, intensity_map, own_style, printed
from darc.config.yaml_tree import yaml_text
from darc.data_files.open_data_file import open_data_file
from darc.model.arrival_texts import date_text, sampling
from darc.offline.figures import band_edges, write_figure
from darc.offline.fold_file import FoldedPulsar
from darc.offline.prepfold import Prepfold
from darc.runtime.paths import write_whole
from darc.science.profile import normalised


def numbers(found: FoldedPulsar) -> dict[str, Any]:
    """Return the measured values, as in the YAML file."""
    start = found.start
    moment = None if start is None else datetime.fromtimestamp(start, UTC).isoformat()
    return {
        "pulsar": found.name,
        "file": str(found.path),
        "start": moment,
        "length_s": round(found.length, 3),
        "method": "built in",
        "dm": round(found.dm, 3),
        "period_s": float(f"{found.period:.12g}"),
        "period_derivative": float(f"{found.period_derivative:.4g}"),
        "period_predicted_s": (
            None if found.predicted is None else float(f"{1 / found.predicted:.12g}")
        ),
        "frame": "barycentric" if found.barycentric else "topocentric",
        "snr": round(found.peak.snr, 2),
        **_verdict(found),
        "width_s": float(f"{found.peak.width * found.period / len(found.profile):.4g}"),
        "n_bins": len(found.profile),
        "part_used": round(found.folded.part_used, 4),
    }


def _verdict(found: FoldedPulsar | None) -> dict[str, Any]:
    """Return whether it is a pulsar; None: unknown."""
    if found is None:
        return {"false_alarm_probability": None, "as_strong_at_dm_0": None, "detected": None}
    return {
        "false_alarm_probability": float(f"{found.false_alarm_probability:.3g}"),
        "as_strong_at_dm_0": found.undispersed,
        "detected": found.detected,
    }


def write_report(found: FoldedPulsar, base: Path, telescope: str = "") -> list[Path]:
    """Write plot and numbers of a pulsar that DARC has folded.

    :param base: path without its suffix
    :param telescope: name; empty: from the file's header
    :return: the files
    :raises DataFileError: the file is not a data file
    :raises OSError: a file cannot be read or written
    """
    recorded = recorded_text(found.path, telescope)
    with own_style():
        written = write_figure(_figure(found, recorded), base)
    return [*written, _write_numbers(numbers(found), base)]


def write_prepfold_report(
    name: str, path: Path, found: Prepfold, here: FoldedPulsar | None, base: Path
) -> list[Path]:
    """Write plot and numbers of a pulsar that prepfold has folded, beside prepfold's own plot.

    :param here: folded by DARC, whose significance holds for noise of any spectrum; prepfold's chi
        squared is for white noise. None: not available
    :param base: path without its suffix
    :raises OSError: a file cannot be written
    """
    values = {
        "pulsar": name,
        "file": str(path),
        "method": "prepfold",
        "dm": found.dm,
        "period_s": found.period,
        "period_derivative": found.period_derivative,
        "frame": "topocentric",
        "snr": round(found.peak.snr, 2),
        "reduced_chi_squared": found.reduced_chi_squared,
        **_verdict(here),
        "width_s": float(f"{found.peak.width * found.period / len(found.profile):.4g}"),
        "n_bins": len(found.profile),
    }
    written = []
    for file in found.files:
        target = base.with_name(f"{base.name}_{_kind(file)}")
        write_whole(target, file.read_bytes())
        written.append(target)
    with own_style():
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        _profile(axes, found.profile)
        axes.set_title(f"{name}   S/N {found.peak.snr:.1f}   prepfold", loc="left")
        axes.set_xlabel("Phase")
        written += write_figure(figure, base)
    return [*written, _write_numbers(values, base)]


def _kind(file: Path) -> str:
    return "prepfold" + file.name[file.name.rindex(".pfd") :]


def _write_numbers(values: dict[str, Any], base: Path) -> Path:
    path = base.with_name(f"{base.name}.yaml")
    write_whole(path, yaml_text(values))
    return path


def _profile(axes: Any, profile: Any) -> None:
    """Plot two rotations of a profile."""
    twice = np.tile(profile, 2)
    axes.stairs(twice, np.arange(len(twice) + 1) / len(profile), color=INK)
    axes.set_xlim(0, 2)
    axes.set_ylabel("S/N per bin")


def _figure(found: FoldedPulsar, recorded: str) -> Figure:
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 2, 0.9))
    folded = found.folded
    _profile(figure.add_subplot(grid[0, 0]), found.profile)
    text = figure.add_subplot(grid[0, 1])
    text.axis("off")
    text.text(0, 1, _text(found, recorded), va="top", family="monospace", fontsize=8.5)
    _image(figure, grid[1, 0], *folded.by_time, (0.0, found.length), "Time (s)")
    sums, counts = folded.sums.sum(axis=0), folded.counts.sum(axis=0)
    _image(figure, grid[1, 1], sums, counts, band_edges(folded.frequencies), "Frequency (MHz)")
    curve = figure.add_subplot(grid[2, :])
    curve.plot(found.dms, found.dm_snrs, color=INK)
    curve.axvline(found.dm, color=GREY, linestyle=":")
    curve.set_xlabel("DM (pc cm⁻³)")
    curve.set_ylabel("S/N")
    return figure


def _image(
    figure: Figure, place: Any, sums: Any, counts: Any, limits: tuple[float, float], label: str
) -> None:
    """Plot two rotations of profiles as an image, with a colour bar.

    :param place: in the figure's grid
    :param counts: number of samples, shape (n_rows, n_bins); rows without data are plotted as such
    """
    rows = normalised(sums, counts)
    rows[counts.sum(axis=1) == 0] = np.nan
    axes = figure.add_subplot(place)
    twice = np.tile(rows, (1, 2))
    known = rows[np.isfinite(rows)]
    low, high = np.percentile(known, (1, 99.7)) if known.size else (0.0, 1.0)
    image = axes.imshow(
        twice,
        extent=(0, 2, *limits),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=intensity_map("viridis"),
        vmin=low,
        vmax=max(high, low + 1e-6),
    )
    axes.set_xlabel("Phase")
    axes.set_ylabel(label)
    if np.isnan(rows).any():
        axes.set_title("grey: no data", loc="right", fontsize=8, color=GREY)
    figure.colorbar(image, ax=axes, label="S/N per bin", pad=0.01, aspect=30)


def recorded_text(path: Path, telescope: str) -> str:
    """Return telescope, sampling time and band of a filterbank file.

    :param telescope: name; empty: from the header
    :raises DataFileError: the file is not a data file
    :raises OSError: the file cannot be read
    """
    with open_data_file(path) as file:
        header, low, high = file.header, file.band.f_low, file.band.f_high
    lines = [printed(telescope or header.telescope or "telescope not known")]
    lines += [f"sampling       {sampling(header.tsamp)}"]
    lines += [f"band           {low:.7g}\N{EN DASH}{high:.7g} MHz, {header.nchans} channels"]
    lines += [f"times          {'barycentric' if header.barycentric else 'topocentric'}"]
    return "\n".join(lines)


def _text(found: FoldedPulsar, recorded: str) -> str:
    values = numbers(found)
    start = date_text(found.start, "TDB" if found.barycentric else "UTC") or "start not known"
    lines = [printed(found.name), printed(found.path.name), start, recorded]
    lines += [f"DM             {found.dm:.3f} pc cm-3"]
    lines += [f"period         {found.period * 1e3:.9f} ms"]
    if found.predicted:
        lines += [f"predicted      {1e3 / found.predicted:.9f} ms"]
    lines += [f"derivative     {found.period_derivative + 0.0:.3g} s/s"]
    lines += [f"S/N            {found.peak.snr:.1f}"]
    lines += [f"false alarm    {found.false_alarm_probability:.2g}"]
    lines += [f"width          {values['width_s'] * 1e3:.3g} ms"]
    lines += [f"channels used  {found.folded.part_used:.1%}"]
    if not values["detected"]:
        lines += ["not detected"]
    return "\n".join(lines)
