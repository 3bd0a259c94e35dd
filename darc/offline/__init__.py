"""Offline processing: work on an observation's files after its end."""
