"""Monitoring of nodes: status, rules that find problems, status page, alarms and metrics."""
