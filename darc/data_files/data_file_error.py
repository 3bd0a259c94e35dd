"""Errors of data files of any format."""

from __future__ import annotations


class DataFileError(ValueError):
    """A file has no data that can be read; the message names file, place and value."""


class IncompleteFileError(DataFileError):
    """A file ends before its header, or the first row that describes the data, does.

    It may still be being written.
    """


class BadRowError(DataFileError):
    """Samples have a scale, weight or frequency that is not allowed; those around may be right."""
