"""Folding of a filterbank file, a known pulsar's or of an unknown period."""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.model.offline_tables import Ephemeris
from darc.model.telescopes import POSITIONS
from darc.offline.file_stream import blocks, n_samples
from darc.offline.off_period import at_period
from darc.offline.searching import find_dm, find_period
from darc.science.dedispersion import Band
from darc.science.folding import Doubles, Folded, Folder, PhaseModel
from darc.science.periodicity import FALSE_ALARM, Trials
from darc.science.profile import (
    Drift,
    Peak,
    best_dm_offset,
    dm_curve,
    dm_turns,
    profile_peak,
    search_drift,
)

log = logging.getLogger(__name__)

N_SUBINTS, N_SUBBANDS = 64, 64
#: With fewer rotations there is nothing to fold.
MIN_TURNS = 4.0
#: The period is looked for within so many turns over the whole, its derivative likewise.
_MAX_DRIFT, _MAX_CURVE = 0.5, 0.125
#: A pulsar whose DM was searched for is weaker at DM 0, by so much in the square of S/N and by this
#: part of S/N; one whose DM is known is not stronger there by this factor.
_DISPERSED, _DISPERSED_PART, _STRONGER = 25.0, 0.03, 1.5
#: A pulse stands out of its profile; a line of something else on some harmonic does not (S/N).
_LEAST_SNR = 5.0
#: DMs that differ by less are one (pc cm-3): headers are rounded.
_SAME_DM = 0.01
#: A frequency that is hardly known is looked for in the beginning of the data (s).
_FIRST_LOOK = 600.0
#: Trials of a first look at most: what is left unseen is said.
_MAX_TRIALS = 20_000
_MJD_OF_UNIX = 40587.0
_DAY = 86400.0


class FoldingError(ValueError):
    """There is nothing to fold, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldedPulsar:
    """A folded pulsar, to show to people.

    :param start: of the data, Unix s; None: not known
    :param frequency: at the start, as the telescope sees it, Hz; likewise its derivative, Hz/s
    :param predicted: frequency, Hz; None: it was not
    :param length: of the data, s
    :param peak: of the profile
    :param profile: in units of its noise, shape (n_bins,)
    :param log_chance: natural logarithm of the chance that noise looks like this, over all that
        was tried
    :param undispersed: as strong at DM 0 as at its own, like interference
    :param dms: trials, pc cm-3, with the S/N of each
    """

    name: str
    path: Path
    start: float | None
    dm: float
    frequency: float
    frequency_derivative: float
    predicted: float | None
    length: float
    peak: Peak
    profile: Doubles
    folded: Folded
    log_chance: float
    undispersed: bool
    dms: Doubles
    dm_snrs: Doubles
    barycentric: bool

    @property
    def false_alarm_probability(self) -> float:
        """The chance that noise looks like this; 1e-300 where it is less."""
        return math.exp(max(self.log_chance, math.log(1e-300)))

    @property
    def detected(self) -> bool:
        """Whether it is neither noise nor, by its profile and DM, interference."""
        likely = self.log_chance < math.log(FALSE_ALARM) and self.peak.snr >= _LEAST_SNR
        return likely and not self.undispersed

    @property
    def period(self) -> float:
        """Seconds, as the telescope sees it."""
        return 1 / self.frequency

    @property
    def period_derivative(self) -> float:
        """Seconds per second."""
        return -self.frequency_derivative / self.frequency**2


def fold_filterbank(
    path: Path,
    *,
    name: str = "",
    period: float | None = None,
    dm: float | None = None,
    ephemeris: Ephemeris | None = None,
    start: float | None = None,
    position: tuple[float, float, float] | None = None,
    n_bins: int = 128,
    dm_max: float = 100.0,
    ifs: tuple[int, ...] | None = None,
) -> FoldedPulsar:
    """Fold a file, with the best period near the known one, or search for one.

    :param period: as the telescope sees it, s; None: from the ephemeris, or searched for
    :param dm: pc cm-3; None: likewise
    :param ephemeris: of the pulsar; None: not known
    :param start: of the data, Unix s; None: as the header says
    :param position: of the telescope, ITRF, m; None: as the header says, else the Earth's centre
    :param n_bins: of the profile; fewer where a period has fewer samples
    :param ifs: see `Filterbank`
    :param dm_max: highest of a search, pc cm-3
    :raises FoldingError: the data are too short, or no period was found
    :raises FilterbankError: it is no filterbank
    :raises OSError: it cannot be read
    """
    with Filterbank(path, ifs, series=True) as file:
        header = file.header
        dm = _of_series(path, header, dm)
        length = n_samples(file) * header.tsamp
        start = header.arrival_reference.start if start is None else start
        uncertainty = 0.0
        model: PhaseModel | None = None
        searched = dm_searched = False
        trials = Trials()
        if period is not None:
            model = PhaseModel.constant(1 / period)
            dm = ephemeris.dm if dm is None and ephemeris else dm
        elif ephemeris is not None:
            model = predicted_model(ephemeris, header, start, length, position)
            uncertainty = ephemeris.uncertainty
            dm = ephemeris.dm if dm is None else dm
        if model is None or dm is None:
            dm_searched, searched = dm is None, model is None
            looked = (
                find_period(file, dm, dm_max)
                if model is None
                else find_dm(file, model.frequency(0.0), dm_max)
            )
            if looked is None:
                raise FoldingError(f"{path}: too short to search for a period")
            best, trials = looked
            dm = best.dm
            log.info("%s: %.6f s at DM %.2f", path, 1 / best.frequency, dm)
            model = model or PhaseModel.constant(best.frequency)
        predicted = None if searched else model.frequency(0.0)
        _check_turns(path, length, model)
        # A sample that is longer than a bin leaves bins empty.
        n_bins = max(4, min(n_bins, int(1 / (model.frequency(0.0) * header.tsamp))))
        if uncertainty * length > _MAX_DRIFT:
            model = _first_look(file, model, dm, n_bins, uncertainty)
            trials = trials.plus(Trials(2 * uncertainty * length))
        refine_dm = (searched or dm_searched) and header.nchans > 1
        folded, model, dm, tried = _fold_and_correct(file, model, dm, n_bins, refine_dm=refine_dm)
        periodic = at_period(file, model, dm, folded, n_bins)
        if periodic is None:
            raise FoldingError(f"{path}: no whole rotation")
        band = file.band
    frequency = model.frequency(0.0)
    dms = _dm_trials(band, model, dm, n_bins)
    snrs = dm_curve(folded, band.f_reference, frequency, np.append(dms, 0.0) - dm, periodic.colour)
    at_dm = dm_curve(folded, band.f_reference, frequency, np.zeros(1), periodic.colour)
    return FoldedPulsar(
        name=name or path.stem,
        path=path,
        start=start,
        dm=dm,
        frequency=frequency,
        frequency_derivative=model.frequency_derivative(0.0),
        predicted=predicted,
        length=length,
        peak=profile_peak(periodic.profile, periodic.colour),
        profile=periodic.profile,
        folded=folded,
        log_chance=periodic.found.log_chance(trials.plus(tried)),
        undispersed=_is_undispersed(float(at_dm[0]), float(snrs[-1]), searched=dm_searched),
        dms=dms,
        dm_snrs=snrs[:-1],
        barycentric=bool(header.barycentric),
    )


def _of_series(path: Path, header: FilterbankHeader, dm: float | None) -> float | None:
    """The DM of what has one channel, where none can be told; else as it is.

    :raises FoldingError: it was dedispersed at another
    """
    if header.nchans > 1 or not header.is_series:
        return 0.0 if dm is None and header.nchans == 1 else dm
    at = header.refdm
    if dm is not None and at is not None and abs(dm - at) > _SAME_DM:
        raise FoldingError(
            f"{path}: a time series, dedispersed at DM {at:g}: for DM {dm:g}, give the filterbank"
            " that it was made of, or no DM"
        )
    return at if dm is None and at is not None else dm or 0.0


def _is_undispersed(snr: float, at_zero: float, *, searched: bool) -> bool:
    """Whether interference is what was found.

    :param at_zero: S/N at DM 0
    :param searched: the DM was searched for: nothing but the data speaks for it
    """
    if not searched:
        return at_zero > _STRONGER * snr
    return snr**2 - at_zero**2 < _DISPERSED or at_zero > (1 - _DISPERSED_PART) * snr


def predicted_model(
    ephemeris: Ephemeris,
    header: FilterbankHeader,
    start: float | None,
    length: float,
    position: tuple[float, float, float] | None,
) -> PhaseModel:
    """Rotations as an ephemeris predicts them.

    :raises FoldingError: it is not known when it was observed
    """
    from darc.science.barycentre import topocentric_model  # noqa: PLC0415 - astropy

    if start is None:
        raise FoldingError("the header does not say when this was observed (tstart)")
    if header.barycentric:
        past = start / _DAY + _MJD_OF_UNIX - ephemeris.epoch
        spin = ephemeris.spin
        frequency = sum(
            value * (past * _DAY) ** number / math.factorial(number)
            for number, value in enumerate(spin)
        )
        return PhaseModel.constant(frequency)
    return topocentric_model(
        start,
        length,
        spin=ephemeris.spin,
        epoch_mjd=ephemeris.epoch,
        ra_deg=ephemeris.position[0],
        dec_deg=ephemeris.position[1],
        itrf_xyz_m=position or POSITIONS.get(header.telescope_id or 0),
    )


def _check_turns(path: Path, length: float, model: PhaseModel) -> None:
    turns = length * model.frequency(0.0)
    if turns < MIN_TURNS:
        raise FoldingError(
            f"{path}: {length:.3f} s are {turns:.1f} rotations; at least {MIN_TURNS:.0f} are needed"
        )


# -- folding -----------------------------------------------------------------------------------


def _fold(
    file: Filterbank,
    model: PhaseModel,
    dm: float,
    n_bins: int,
    *,
    n_subints: int,
    n_subbands: int = N_SUBBANDS,
    end: int | None = None,
) -> Folded:
    """Fold the beginning of a file, or all of it.

    :param end: one behind the last sample; None: to the end
    """
    header = file.header
    end = n_samples(file) if end is None else end
    frequencies = header.frequencies
    order = 1 if frequencies[0] <= frequencies[-1] else -1
    delays = np.ascontiguousarray(file.band.delays([dm])[0][::order])
    folder = Folder(model, delays, frequencies, n_bins, n_subbands)
    edges = np.unique(np.linspace(0, end, min(n_subints, end) + 1).astype(np.int64))
    for first, last in itertools.pairwise(edges):
        for begin, data in blocks(file, int(first), int(last)):
            numbers = begin + np.arange(len(data), dtype=np.float64)
            folder.add(data, np.asarray((numbers + 0.5) * header.tsamp, dtype=np.float64))
        folder.close_subint()
    return folder.result()


def _n_subints(model: PhaseModel, length: float) -> int:
    """So many that each has some rotations."""
    return int(max(1, min(N_SUBINTS, length * model.frequency(0.0) / MIN_TURNS)))


def _first_look(
    file: Filterbank, model: PhaseModel, dm: float, n_bins: int, uncertainty: float
) -> PhaseModel:
    """A better frequency, from the beginning of the data, folded in many short pieces."""
    tsamp = file.header.tsamp
    length = min(_FIRST_LOOK, n_samples(file) * tsamp)
    # In a piece the pulse moves by two bins at most.
    n_subints = math.ceil(length * uncertainty * n_bins / 2)
    n_subints = max(_n_subints(model, length), n_subints)
    end = min(n_samples(file), int(length / tsamp))
    folded = _fold(file, model, dm, n_bins, n_subints=n_subints, n_subbands=1, end=end)
    wanted = uncertainty * length
    searched = min(wanted, _MAX_TRIALS / n_bins / 2)
    if searched < wanted:
        log.warning("%s: searched within %.2g Hz only", file.path, searched / length)
    sums, counts = folded.by_time
    found = search_drift(
        sums, counts, folded.times, max_drift=searched, max_curve=0.0, step=1 / n_bins
    )
    return model.corrected(found.df, 0.0, found.reference)


def _fold_and_correct(
    file: Filterbank, model: PhaseModel, dm: float, n_bins: int, *, refine_dm: bool
) -> tuple[Folded, PhaseModel, float, Trials]:
    """Fold all of a file, and again if the period or DM turns out to be clearly another.

    :return: what was folded, at which model and DM, and what was tried
    """
    tried = Trials()
    length = n_samples(file) * file.header.tsamp
    n_subints = _n_subints(model, length)
    for again in (True, False):
        folded = _fold(file, model, dm, n_bins, n_subints=n_subints)
        found, looked = _drift(folded, n_bins)
        tried = tried.plus(looked)
        model = model.corrected(found.df, found.dfdot, found.reference)
        folded = folded.turned(found.turns)
        if not again:
            break
        offset = 0.0
        if refine_dm:
            offset, looked = _better_dm(folded, file.band, model, dm)
            tried = tried.plus(looked)
        moved = dm_turns(folded.frequencies, file.band.f_reference, offset, model.frequency(0.0))
        within = np.ptp(found.turns) / n_subints + np.ptp(moved) / len(folded.frequencies)
        if offset == 0 and within * n_bins < 0.5:
            break
        dm = max(0.0, dm + offset)
    return folded, model, dm, tried


def _drift(folded: Folded, n_bins: int) -> tuple[Drift, Trials]:
    sums, counts = folded.by_time
    drift = _MAX_DRIFT if len(folded.times) > 1 else 0.0
    curve = _MAX_CURVE if len(folded.times) >= 4 else 0.0
    found = search_drift(
        sums, counts, folded.times, max_drift=drift, max_curve=curve, step=0.5 / n_bins
    )
    return found, Trials(2 * drift, 2 * curve)


def _dm_trials(band: Band, model: PhaseModel, dm: float, n_bins: int) -> Doubles:
    """DMs around one, within which the pulse is smeared over a fraction of its period."""
    per_dm = float(np.ptp(band.delays([1.0])[0])) * model.frequency(0.0)
    step = 0.5 / n_bins / per_dm if per_dm > 0 else 1.0
    trials = dm + step * np.arange(-48, 49)
    return np.asarray(trials[trials >= 0], dtype=np.float64)


def _better_dm(folded: Folded, band: Band, model: PhaseModel, dm: float) -> tuple[float, Trials]:
    trials = _dm_trials(band, model, dm, folded.sums.shape[-1])
    turns = float(np.ptp(band.delays([np.ptp(trials)])[0])) * model.frequency(0.0)
    offset = best_dm_offset(folded, band.f_reference, model.frequency(0.0), trials - dm)
    return offset, Trials(dm=turns)
