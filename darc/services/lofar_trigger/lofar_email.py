"""E-mail about a trigger that was sent to LOFAR (docs/triggers.md, E-mail)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from darc.model.trigger import Trigger

UNKNOWN = "unknown"
MAX_NAME = 80  # characters of a name that are shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def compose(
    trigger: Trigger,
    freeze_time: float,
    *,
    test: bool,
    sent_at: float,
    dm_error: float | None = None,
) -> tuple[str, str]:
    """Return subject and text, both sanitised, as names may come from outside.

    :param freeze_time: as sent to LOFAR (Unix s); shown with the ms precision of the packet
    :param test: whether the packet was marked as a test
    :param sent_at: Unix s
    :param dm_error: error of the DM as measured (pc cm-3); None: that of the trigger, which has
        none for a known source
    :raises ValueError: a time cannot be expressed
    """
    source = _name(trigger.src_name or "") or "new source"
    rows = (
        ("Observation", _name(trigger.datetimesource)),
        ("Task id", _name(trigger.observation)),
        ("Source", f"{source} ({_name(trigger.name)})"),
        ("DM", _dm(trigger)),
        ("DM as found", _with_error(trigger.dm_cluster, dm_error or trigger.dm_err)),
        ("S/N", _number(trigger.snr, 4)),
        ("Arrival time", _arrival(trigger.utc, trigger.nu_GHz * 1e3)),
        ("Width", _number(trigger.width, 5, "ms")),
        ("Flux density", _number(trigger.flux, 4, "Jy")),
        ("CB", _beam(trigger.cb)),
        ("SB or TAB", _beam(trigger.sb)),
        ("RA (ICRS)", _ra(trigger.ra)),
        ("Dec (ICRS)", _dec(trigger.dec)),
        ("Freeze time", _time(freeze_time)),
        ("Sent", _time(sent_at)),
        ("Test", "yes" if test else "no"),
    )
    width = max(len(label) for label, _ in rows)
    opening = f"A {'TEST ' if test else ''}trigger was sent to LOFAR."
    text = "\n".join([opening, "", *(f"{label:<{width}}  {value}" for label, value in rows), ""])
    subject = f"{source}, DM {_number(trigger.dm)}, S/N {_number(trigger.snr, 4)}"
    return f"{'TEST LOFAR' if test else 'LOFAR'} trigger: {subject}", text


def _name(text: str) -> str:
    """Return a name on one line, without control characters."""
    shown = text if len(text) <= MAX_NAME else text[: MAX_NAME - 3] + "..."
    return "".join(character if character.isprintable() else "?" for character in shown)


def _number(value: float | None, digits: int = 7, unit: str = "") -> str:
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{digits}g} {unit}".rstrip()


def _beam(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:02d}"


def _with_error(dm: float, error: float) -> str:
    return f"{_number(dm)} ± {_number(error, 3)} pc cm-3" if error else f"{_number(dm)} pc cm-3"


def _dm(trigger: Trigger) -> str:
    if trigger.src_name is None:
        return _with_error(trigger.dm, trigger.dm_err)
    return f"{_with_error(trigger.dm, trigger.dm_err)}, of the catalogue"


def _arrival(utc: str, frequency: float) -> str:
    time = datetime.fromisoformat(utc)
    try:
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{utc} is outside the years 1 to 9999") from error
    when = time.replace(tzinfo=None).isoformat(" ", "microseconds")
    return f"{when} UTC at {frequency:.3f} MHz, centre of the band, topocentric"


def _time(unix_time: float) -> str:
    try:
        # Rounded before it is split, so that milliseconds carry over.
        milliseconds = round(Fraction(unix_time) * 1000)
        time = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        raise ValueError(f"{unix_time} s is outside the years 1 to 9999") from error
    return f"{time.replace(tzinfo=None).isoformat(' ', 'milliseconds')} UTC"


def _ra(degrees: float | None) -> str:
    if degrees is None or not math.isfinite(degrees):
        return UNKNOWN
    hundredths = round(degrees % 360 * 24_000) % 8_640_000  # s of time
    return f"{round(degrees, 5) % 360:.5f} deg  {_sexagesimal(hundredths, 100)}"


def _dec(degrees: float | None) -> str:
    if degrees is None or not -90 <= degrees <= 90:
        return UNKNOWN
    tenths = round(abs(degrees) * 36_000)  # arcsec
    sign = "-" if degrees < 0 and tenths else "+"
    return f"{round(degrees, 5) + 0.0:+.5f} deg  {sign}{_sexagesimal(tenths, 10)}"


def _sexagesimal(count: int, per_second: int) -> str:
    """Format a count; it was rounded before it is split, so that a part is never 60."""
    seconds, fraction = divmod(count, per_second)
    minutes, second = divmod(seconds, 60)
    digits = len(str(per_second)) - 1
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{fraction:0{digits}d}"
