"""Numerical functions: arrays in, arrays out; no I/O, no configuration object."""
