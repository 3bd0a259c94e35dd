"""Threads of numerical libraries: many processes share the cores, and none takes them all.

By itself OpenBLAS makes a thread for each core as soon as numpy is imported: that costs a service
some of its start, and is of no use to any.
"""

from __future__ import annotations

#: For the environment of processes, unless it says something else.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
