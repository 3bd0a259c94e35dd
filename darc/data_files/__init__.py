"""Filterbank files of a telescope."""
