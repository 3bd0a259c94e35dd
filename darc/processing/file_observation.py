"""A filterbank file as the observation of a single beam, which its header describes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from darc.filterbank.reader import Filterbank
from darc.model.filterbank_header import FilterbankHeader
from darc.model.observation import Observation, Pointing

#: The file is all there is of the observation.
CB = 0
_UNIX_EPOCH, _DAY = 40587.0, 86400.0  # MJD; s
_NO_PATH = re.compile(r"[^A-Za-z0-9._+-]+")


def describe_file(file: Filterbank, output: Path, say: Callable[[str], None]) -> Observation:
    """Describe a file as the observation of one beam.

    :param say: is told what the header lacks
    :raises ValueError: there is not a single sample in it
    """
    header, n_samples = file.header, file.n_samples()
    if not n_samples:
        raise ValueError(f"{file.path}: no samples behind the header")
    if header.nsamples and header.nsamples > n_samples:
        say(f"{file.path}: {n_samples} samples are there of {header.nsamples}: it is cut short")
    if header.nifs > 1:
        say(f"{file.path}: nifs: {header.nifs}: the first IF is used")
    start, date = 0.0, "undated"
    if header.tstart:
        start = round((header.tstart - _UNIX_EPOCH) * _DAY, 6)
        moment = datetime.fromtimestamp(start, UTC)
        date, utc_start = f"{moment:%Y%m%d}", f"{moment:%Y-%m-%d-%H:%M:%S}"
    else:
        utc_start = "undated"
        say(f"{file.path}: no tstart: the page shows 1970")
    source = header.source_name or file.path.stem
    name = _NO_PATH.sub("_", source).strip("._") or "file"
    pointing = header_pointing(header)
    if pointing is None:
        say(f"{file.path}: no position (src_raj, src_dej): the Milky Way's DM is not known")
    return Observation(
        task_id=file.path.name,
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
        config_file=str(file.path),
    )


def header_pointing(header: FilterbankHeader) -> Pointing | None:
    """Where a header's src_raj and src_dej point; None: nowhere, or both are 0."""
    ra, dec = header.src_raj, header.src_dej
    if ra is None or dec is None or ra == dec == 0:
        return None
    angles = _sexagesimal(ra), _sexagesimal(dec)
    if angles[0] is None or angles[1] is None:
        return None
    longitude, latitude = angles[0] * 15, angles[1]
    if not (0 <= longitude < 360 and -90 <= latitude <= 90):
        return None
    return Pointing(CB, longitude, latitude)


def _sexagesimal(packed: float) -> float | None:
    """Of ddmmss.s: degrees, or hours; None if minutes or seconds are none."""
    whole, seconds = divmod(abs(packed), 100)
    degrees, minutes = divmod(whole, 100)
    if minutes >= 60 or seconds >= 60:
        return None
    value = degrees + minutes / 60 + seconds / 3600
    return -value if packed < 0 else value
