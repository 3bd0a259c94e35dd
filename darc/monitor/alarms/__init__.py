"""Alarms: notifications of problems in the cluster, at their start and at their end."""
