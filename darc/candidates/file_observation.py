"""Description of a data file as an observation of a single beam, from its header."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from darc.data_files.data_file import DataFile
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.arrival import unix_of
from darc.model.observation import Observation, Pointing

#: Compound beam of the file.
CB = 0
#: Limits of plausible headers: s, MHz and MJD.
_LONG_SAMPLE, _LOWEST_MHZ, _HIGHEST_MHZ = 0.05, 5.0, 1e6
_FIRST_MJD, _LAST_MJD = 36_000.0, 88_000.0
_NO_PATH = re.compile(r"[^A-Za-z0-9._+-]+")


def describe_file(file: DataFile, output: Path, say: Callable[[str], None]) -> Observation:
    """Describe a file as an observation of one beam.

    :param say: callback for messages about missing header values
    :raises ValueError: the file has no samples
    """
    header, n_samples = file.header, file.n_samples()
    if not n_samples:
        raise ValueError(f"{file.path}: no samples behind the header")
    for odd in (*oddities(header, n_samples), *_of_ifs(file), *file.remarks()):
        say(f"{file.path}: {odd}")
    start, date = 0.0, "undated"
    if header.tstart:
        start = unix_of(header.tstart)
        moment = datetime.fromtimestamp(start, UTC)
        date, utc_start = f"{moment:%Y%m%d}", f"{moment:%Y-%m-%d-%H:%M:%S}"
    else:
        utc_start = "undated"
        say(f"{file.path}: no tstart: when it was observed is not known")
    source = header.source_name or spelt_out(file.path.stem)
    name = _NO_PATH.sub("_", source).strip("._") or "file"
    pointing = header_pointing(header)
    if pointing is None:
        say(f"{file.path}: {_no_position(header)}: the Milky Way's DM is not known")
    return Observation(
        task_id=spelt_out(file.path.name),
        datetimesource=f"{utc_start}.{name[:100]}",
        date=date,
        source=source,
        start=start,
        utc_start=utc_start,
        duration=n_samples * header.tsamp,
        proctrigger=True,
        enable_iquv=False,
        beam=CB,
        beams=(CB,),
        source_beam=CB,
        pointings=() if pointing is None else (pointing,),
        reference_frame="J2000",
        dishes=(),
        n_dishes=1,
        min_freq=header.f_lowest,
        bandwidth=header.nchans * header.channel_width,
        nchan=header.nchans,
        tsamp=header.tsamp,
        ntabs=1,
        nsynbeams=1,
        science_case=None,
        snrmin=None,
        amber_dir="",
        amber_config="",
        amber_instances=0,
        amber_conf_dir="",
        output_dir=str(output),
        master_dir="",
        event_port_i=None,
        event_port_iquv=None,
        config_file=spelt_out(str(file.path)),
    )


def spelt_out(name: str) -> str:
    """Return a file name as text; invalid bytes are escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def header_pointing(header: FilterbankHeader) -> Pointing | None:
    """Return the pointing of a header's src_raj and src_dej; None if invalid, or both are 0."""
    ra, dec = header.src_raj, header.src_dej
    if ra is None or dec is None or ra == dec == 0 or _are_degrees(ra, dec):
        return None
    angles = _sexagesimal(ra), _sexagesimal(dec)
    if angles[0] is None or angles[1] is None:
        return None
    longitude, latitude = angles[0] * 15, angles[1]
    if not (0 <= longitude < 360 and -90 <= latitude <= 90):
        return None
    return Pointing(CB, longitude, latitude)


def _are_degrees(ra: float, dec: float) -> bool:
    """Whether numbers are in degrees, instead of SIGPROC's hhmmss.s and ddmmss.s.

    Taken as the latter, they are within 4 minutes and 2 arc minutes of one position.
    """
    return 0 < ra < 360 and abs(dec) <= 90


def _no_position(header: FilterbankHeader) -> str:
    ra, dec = header.src_raj, header.src_dej
    if ra is None or dec is None or ra == dec == 0:
        return "no position (src_raj, src_dej)"
    what = f"src_raj: {ra:g}, src_dej: {dec:g}"
    if _are_degrees(ra, dec):
        return f"{what} look like degrees, where hhmmss.s and ddmmss.s are wanted; not used"
    return f"{what} are no hhmmss.s and ddmmss.s; not used"


def oddities(header: FilterbankHeader, n_samples: int) -> list[str]:
    """Return the header values that are valid but implausible.

    :param n_samples: number of samples in the file
    """
    found = []
    if header.nsamples and header.nsamples > n_samples:
        found.append(f"{n_samples} samples are there of {header.nsamples}: it is cut short")
    elif header.nsamples and header.nsamples < n_samples:
        found.append(f"nsamples: {header.nsamples}, and {n_samples} are there: all are used")
    if header.refdm:
        found.append(
            f"refdm: {header.refdm:g}: taken for a remark; if the data are dedispersed to that DM,"
            " DMs are too low by it"
        )
    if header.tsamp >= _LONG_SAMPLE:
        found.append(
            f"tsamp: {header.tsamp:g} s, {n_samples * header.tsamp:g} s in all: long for a sample;"
            " it is in seconds, where some write ms or µs"
        )
    f_highest = header.f_lowest + header.channel_width * (header.nchans - 1)
    if header.f_lowest < _LOWEST_MHZ or f_highest > _HIGHEST_MHZ:
        found.append(
            f"fch1: {header.fch1:g} MHz, foff: {header.foff:g} MHz: no band of a radio telescope;"
            " they are in MHz, where some write GHz or Hz"
        )
    if header.tstart and not _FIRST_MJD <= header.tstart <= _LAST_MJD:
        found.append(f"tstart: {header.tstart:g} is wanted as MJD, and is no time of this age")
    if header.barycentric:
        found.append(
            "barycentric: 1: arrival times are those at the barycentre, not at the telescope"
        )
    return found


def _of_ifs(file: DataFile) -> list[str]:
    used = ", ".join(str(number + 1) for number in file.ifs)
    if file.header.nifs == 1:
        return []
    how = f"IFs {used} are added" if len(file.ifs) > 1 else f"IF {used} is used alone"
    return [f"nifs: {file.header.nifs}: {how}; --ifs names others"]


def _sexagesimal(packed: float) -> float | None:
    """Convert ddmmss.s to degrees, or hhmmss.s to hours; None if minutes or seconds are invalid."""
    whole, seconds = divmod(abs(packed), 100)
    degrees, minutes = divmod(whole, 100)
    if minutes >= 60 or seconds >= 60:
        return None
    value = degrees + minutes / 60 + seconds / 3600
    return -value if packed < 0 else value
