"""Why a VOEvent did not reach its broker."""

from __future__ import annotations


class SendError(Exception):
    """The broker has not accepted the event, as far as is known."""


class RefusedError(SendError):
    """The broker refused the event, with a reason."""


class NotAnsweredError(SendError):
    """No reply, or an invalid one; the broker may have accepted the event nevertheless."""
