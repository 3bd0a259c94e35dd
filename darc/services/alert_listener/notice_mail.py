"""E-mails that tell people of a notice of others; plain text, with nothing of it but values."""

from __future__ import annotations

from darc.model.arrival import utc_of
from darc.model.outside_notice import OutsideNotice


def subject_of(notice: OutsideNotice, rule: str) -> str:
    """Return the subject: the rule, which is ours, and the notice's kind and id."""
    return f"DARC: {rule}: {notice.kind} {notice.id}"


def text_of(notice: OutsideNotice, rule: str, hostname: str, beam: int | None) -> str:
    """Return the text.

    :param beam: of ours, in which its position may lie; None: in none, or not known
    """
    position = notice.position
    error = notice.position_error
    rows = {
        "rule": rule,
        "node": hostname,
        "topic": notice.source,
        "id": notice.id,
        "alert_type": str(notice.kind),
        "alert_tense": notice.tense,
        "instrument": " ".join(filter(None, notice.instrument)) or None,
        "trigger time": None if notice.trigger_time is None else f"{utc_of(notice.trigger_time)}Z",
        "position": f"{position[0]:.4f} {position[1]:+.4f} deg (ICRS)" if position else "none",
        "position error": None if error is None else f"{error:.4f} deg",
        "our beam": None if beam is None else str(beam),
        "DM": None if notice.dm is None else f"{notice.dm:g} pc cm-3",
        "S/N": None if notice.snr is None else f"{notice.snr:g}",
        "importance": None if notice.importance is None else f"{notice.importance:g}",
        "false-alarm rate": None if notice.far is None else f"{notice.far:g} Hz",
        "known source": notice.known_source or None,
    }
    lines = [f"{name + ':':<18}{value}" for name, value in rows.items() if value is not None]
    return "\n".join(["A notice of others, as it stated.", "", *lines, ""])
