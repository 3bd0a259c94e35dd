"""Folding of a filterbank file at a known or an unknown period."""

from __future__ import annotations

import itertools
import logging
import math
from pathlib import Path

import numpy as np

from darc.config.records import Struct
from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.open_data_file import open_data_file
from darc.model.arrival import mjd_of
from darc.model.offline_tables import Ephemeris
from darc.offline.file_stream import blocks, n_samples
from darc.offline.off_period import at_period
from darc.offline.searching import find_dm, find_period, turns_across
from darc.science.arrays import Doubles
from darc.science.dedispersion import Band
from darc.science.folding import Folded, Folder, PhaseModel
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
#: Minimum number of rotations.
MIN_TURNS = 4.0
#: Search range of period and period derivative, turns over the whole length.
_MAX_DRIFT, _MAX_CURVE = 0.5, 0.125
#: Criteria for interference. If the DM was searched for, S/N at DM 0 must be lower, by this in its
#: square and by this fraction; if the DM is known, it must not be higher by this factor.
_DISPERSED, _DISPERSED_PART, _STRONGER = 25.0, 0.03, 1.5
#: Minimum S/N of the profile; that of a single harmonic line of interference is lower.
_LEAST_SNR = 5.0
#: DMs that differ by less are equal (pc cm-3): headers are rounded.
_SAME_DM = 0.01
#: Length of data for the search of an uncertain frequency (s).
_FIRST_LOOK = 600.0
#: Maximum number of trials of that search; an incomplete search is reported.
_MAX_TRIALS = 20_000
_DAY = 86400.0  # s


class FoldingError(ValueError):
    """Folding is impossible; the text says why."""


class FoldedPulsar(Struct, frozen=True, eq=False):
    """Folded pulsar.

    :param start: start of the data, Unix s; None: unknown
    :param dm: pc cm-3
    :param frequency: topocentric, at the start, Hz
    :param frequency_derivative: topocentric, at the start, Hz/s
    :param predicted: predicted frequency, Hz; None: no prediction
    :param length: length of the data, s
    :param peak: pulse of the profile
    :param profile: in units of its noise, shape (n_bins,)
    :param log_chance: natural logarithm of the false-alarm probability, including all trials
    :param undispersed: S/N is as high at DM 0 as at this DM: interference
    :param dms: trial DMs, pc cm-3, shape (n,)
    :param dm_snrs: S/N at these, shape (n,)
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
        """False-alarm probability, at least 1e-300."""
        return math.exp(max(self.log_chance, math.log(1e-300)))

    @property
    def detected(self) -> bool:
        """Whether it is significant and, by its profile and DM, not interference."""
        likely = self.log_chance < math.log(FALSE_ALARM) and self.peak.snr >= _LEAST_SNR
        return likely and not self.undispersed

    @property
    def period(self) -> float:
        """Topocentric period, s."""
        return 1 / self.frequency

    @property
    def period_derivative(self) -> float:
        """Topocentric period derivative, s/s."""
        return -self.frequency_derivative / self.frequency**2


def fold_filterbank(
    path: DataSource,
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
    """Fold a file at the best period near the known one, or search for one.

    :param name: name of the pulsar
    :param period: topocentric, s; None: from the ephemeris, or searched for
    :param dm: pc cm-3; None: from the ephemeris, or searched for
    :param start: start of the data, Unix s; None: from the header
    :param position: position of the telescope, ITRF, m; None: from the header, else the Earth's
        centre
    :param n_bins: number of bins of the profile; fewer if a period has fewer samples
    :param dm_max: highest DM of a search, pc cm-3
    :param ifs: see `open_data_file`
    :raises FoldingError: the data are too short, or no period was found
    :raises DataFileError: the file is not a data file
    :raises OSError: the file cannot be read
    """
    with open_data_file(path, ifs, series=True) as file:
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
        # Bins shorter than a sample would be empty.
        n_bins = max(4, min(n_bins, int(1 / (model.frequency(0.0) * header.tsamp))))
        if uncertainty * length > _MAX_DRIFT:
            model = _first_look(file, model, dm, n_bins, uncertainty)
            trials = trials.plus(Trials(2 * uncertainty * length))
        refine_dm = (searched or dm_searched) and header.nchans > 1
        folded, model, dm, tried = _fold_and_correct(file, model, dm, n_bins, refine_dm=refine_dm)
        periodic = at_period(file, model, dm, folded, n_bins)
        if periodic is None:
            raise FoldingError(f"{path}: no whole rotation")
        band, first = file.band, file.path
    frequency = model.frequency(0.0)
    dms = _dm_trials(band, model, dm, n_bins)
    snrs = dm_curve(folded, band.f_reference, frequency, np.append(dms, 0.0) - dm, periodic.colour)
    at_dm = dm_curve(folded, band.f_reference, frequency, np.zeros(1), periodic.colour)
    return FoldedPulsar(
        name=name or first.stem,
        path=first,
        start=start,
        dm=dm,
        frequency=frequency,
        frequency_derivative=model.frequency_derivative(),
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


def _of_series(path: DataSource, header: FilterbankHeader, dm: float | None) -> float | None:
    """Return the DM to use: None or that of the data for a single channel, else as given.

    :raises FoldingError: a time series was dedispersed at another DM
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
    """Whether the signal is undispersed, so interference.

    :param snr: S/N at the pulsar's DM
    :param at_zero: S/N at DM 0
    :param searched: the DM was searched for: it is known from the data alone
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
    """Return the phase model that an ephemeris predicts: constant for barycentric data.

    :param start: start of the data, Unix s; None: unknown
    :param length: length of the data, s
    :param position: position of the telescope, ITRF, m; None: from the header, else the Earth's
        centre
    :raises FoldingError: the time of the observation is unknown
    """
    from darc.science.barycentre import taylor, topocentric_model  # noqa: PLC0415 - astropy

    if start is None:
        raise FoldingError("the header does not say when this was observed (tstart)")
    if header.barycentric:
        past = mjd_of(start) - ephemeris.epoch
        return PhaseModel.constant(taylor(ephemeris.spin, past * _DAY))
    return topocentric_model(
        start,
        length,
        spin=ephemeris.spin,
        epoch_mjd=ephemeris.epoch,
        ra_deg=ephemeris.position[0],
        dec_deg=ephemeris.position[1],
        itrf_xyz_m=position or header.position,
    )


def _check_turns(path: DataSource, length: float, model: PhaseModel) -> None:
    turns = length * model.frequency(0.0)
    if turns < MIN_TURNS:
        raise FoldingError(
            f"{path}: {length:.3f} s are {turns:.1f} rotations; at least {MIN_TURNS:.0f} are needed"
        )


# -- folding -----------------------------------------------------------------------------------


def _fold(
    file: DataFile,
    model: PhaseModel,
    dm: float,
    n_bins: int,
    *,
    n_subints: int,
    n_subbands: int = N_SUBBANDS,
    end: int | None = None,
) -> Folded:
    """Fold the beginning of a file, or all of it.

    :param end: end of the range of samples, exclusive; None: to the end
    """
    header = file.header
    end = n_samples(file) if end is None else end
    folder = Folder(model, file.delays(dm), header.frequencies, n_bins, n_subbands)
    edges = np.unique(np.linspace(0, end, min(n_subints, end) + 1).astype(np.int64))
    for first, last in itertools.pairwise(edges):
        for begin, data in blocks(file, int(first), int(last)):
            numbers = begin + np.arange(len(data), dtype=np.float64)
            folder.add(data, np.asarray((numbers + 0.5) * header.tsamp, dtype=np.float64))
        folder.close_subint()
    return folder.result()


def _n_subints(model: PhaseModel, length: float) -> int:
    """Return a number of sub-integrations with several rotations each."""
    return int(max(1, min(N_SUBINTS, length * model.frequency(0.0) / MIN_TURNS)))


def _first_look(
    file: DataFile, model: PhaseModel, dm: float, n_bins: int, uncertainty: float
) -> PhaseModel:
    """Return a more accurate frequency, from short sub-integrations at the start of the data."""
    tsamp = file.header.tsamp
    length = min(_FIRST_LOOK, n_samples(file) * tsamp)
    # In a sub-integration the pulse drifts by at most two bins.
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
    file: DataFile, model: PhaseModel, dm: float, n_bins: int, *, refine_dm: bool
) -> tuple[Folded, PhaseModel, float, Trials]:
    """Fold the whole file, and again if the period or DM differs significantly.

    :return: folded data, their model and DM, and the trials
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
    """Return trial DMs around one, in steps of half a phase bin of delay across the band."""
    per_dm = float(np.ptp(band.delays([1.0])[0])) * model.frequency(0.0)
    step = 0.5 / n_bins / per_dm if per_dm > 0 else 1.0
    trials = dm + step * np.arange(-48, 49)
    return np.asarray(trials[trials >= 0], dtype=np.float64)


def _better_dm(folded: Folded, band: Band, model: PhaseModel, dm: float) -> tuple[float, Trials]:
    trials = _dm_trials(band, model, dm, folded.sums.shape[-1])
    frequency = model.frequency(0.0)
    offset = best_dm_offset(folded, band.f_reference, frequency, trials - dm)
    return offset, Trials(dm=turns_across(band, trials, frequency))
