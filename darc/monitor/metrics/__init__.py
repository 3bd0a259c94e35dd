"""A node's metrics, as Prometheus asks for them: see docs/metrics.md."""
