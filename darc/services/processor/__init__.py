"""Processing of candidates on a worker: clusters, their extraction and score, and the results."""
