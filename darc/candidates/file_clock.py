"""Times and widths of an observation in a data file, which may start later or be sampled otherwise.

Candidates count from the observation's start, in its samples. A backend may start seconds later, or
its first file be missing: what is read then is chosen by the file's own start.
"""

from __future__ import annotations

from darc.config.records import Struct, replace
from darc.data_files.data_file_error import DataFileError
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.translated_header import TranslatedHeader
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import Detection

#: Starts that differ by less are the same one, s: a header or an observation may have whole seconds
#: (DADA's UTC_START does), and the first sample is that of the search all the same.
_ROUNDED = 1.0

#: A file that starts so long before or after the observation is not of it, s: none is longer.
_FARTHEST = 86400.0

#: Sampling times that differ by a smaller fraction are the same one, rounded.
_SAME_TSAMP = 1e-6


class DataTimes(Struct, frozen=True):
    """What is known of the times of data: an instrument's `data_start` and `data_tsamp`.

    :param by_header: a file begins when its header says, and not with the observation
    :param tsamp: sampling time, s; None: that of the observation
    :param span: start and end of the observation, Unix s; None: all files are taken for its own
    """

    by_header: bool = True
    tsamp: float | None = None
    span: tuple[float, float] | None = None


class FileClock(Struct, frozen=True):
    """Where a file's samples are in its observation.

    :param late: time of its first sample, s since the observation's start; negative: before
    :param samples: its samples in one of the observation
    :param differs: how the file is sampled, and how it should be; empty: as it should
    """

    late: float = 0.0
    samples: float = 1.0
    differs: str = ""

    def in_file(self, pulse: Detection) -> Detection:
        """Return a pulse with its time since the file's first sample, and width in its samples.

        The time is negative if it arrives before.
        """
        width = max(1, round(pulse.downsampling * self.samples))
        return replace(pulse, time=pulse.time - self.late, downsampling=width)

    def width_of_observation(self, width: int) -> int:
        """Return a width in samples of the observation."""
        return max(1, round(width / self.samples))

    def __str__(self) -> str:
        said = []
        if self.late:
            side = "after" if self.late > 0 else "before"
            said.append(f"starts {abs(self.late):.6g} s {side} the observation")
        if self.samples != 1:
            said.append(f"has {self.samples:.6g} samples for one of the observation")
        return " and ".join(said)


_AS_THE_HEADER_SAYS = DataTimes()


def file_clock(
    header: FilterbankHeader,
    known: ArrivalReference | None,
    file: str,
    times: DataTimes = _AS_THE_HEADER_SAYS,
) -> FileClock:
    """Return where a file's samples are in its observation.

    Starts are compared where both are known and of one frame.

    :param known: reference of the observation's times; None: they are the file's
    :param file: its name, for messages
    :param times: what the instrument says of its data
    :raises DataFileError: it is not of this observation
    """
    if known is None:
        return FileClock()
    samples = known.tsamp / header.tsamp
    if abs(samples - 1) < _SAME_TSAMP:
        samples = 1.0
    differs = _difference(header.tsamp, known.tsamp, times.tsamp)
    if not times.by_header:
        return FileClock(samples=samples, differs=differs)
    start = header.arrival_reference.start
    if start is None or known.start is None or header.arrival_reference.frame != known.frame:
        return FileClock(samples=samples, differs=differs)
    late = start - known.start
    if abs(late) > _FARTHEST:
        raise DataFileError(
            f"{file}: starts {abs(late):.6g} s {'after' if late > 0 else 'before'} the observation;"
            f" allowed: up to {_FARTHEST:g} s: is it of another one? Where headers have a wrong"
            " date, instrument.data_start: observation"
        )
    since = header.observed_since if isinstance(header, TranslatedHeader) else None
    if abs(late) < header.tsamp / 2:  # also a later file that is processed alone
        late = 0.0
    elif since is not None and abs(since - known.start) < _ROUNDED:
        # It counts from the same start, in whole samples: the rest is rounding of that start.
        late = start - since
    elif abs(late) < _ROUNDED:
        late = 0.0
    return FileClock(late, samples, differs)


def _difference(there: float, of_observation: float, of_data: float | None) -> str:
    """Return how a file's sampling time differs from what it should be (s); empty: it does not."""
    wanted = of_observation if of_data is None else of_data
    if abs(there / wanted - 1) < _SAME_TSAMP:
        return ""
    whose = "the observation" if of_data is None else "instrument.data_tsamp"
    return f"samples of {there:.10g} s by its header, of {wanted:.10g} s by {whose}"
