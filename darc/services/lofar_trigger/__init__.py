"""Freezes LOFAR's transient buffers for a trigger."""
