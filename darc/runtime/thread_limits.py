"""Limits on threads of numerical libraries, as many processes share the cores.

By default OpenBLAS starts a thread per core when numpy is imported, which slows the start of a
service and has no benefit.
"""

from __future__ import annotations

#: Default environment variables of processes.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
