"""A node's metrics in the format of Prometheus: see docs/metrics.md."""
