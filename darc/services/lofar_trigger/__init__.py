"""Triggers LOFAR to freeze its transient buffers."""
