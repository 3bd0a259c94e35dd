"""Clocks, threads, logs, atomic files, and start and end of processes."""
