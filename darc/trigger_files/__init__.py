"""Trigger files: growing ones of AMBER, and tables of other search programs."""
