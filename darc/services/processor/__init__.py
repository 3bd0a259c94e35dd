"""Processing of candidates on a worker: clusters, their data, classification, and results."""
