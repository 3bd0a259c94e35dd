"""Processing of candidates: clustering, extraction in separate processes, results.

The service imports none of the large libraries (numba, h5py, matplotlib): only tasks (`pool_tasks`)
do, in the processes that run them (`pool_process`).
"""
