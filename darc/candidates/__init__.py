"""Processing of candidates: clusters, extraction in processes of their own, results.

The service imports none of what is large (numba, h5py, matplotlib): tasks (`tasks`) do, in the
processes in which they run (`pool`).
"""
