"""Alarms: what is wrong in the cluster, told to people once, and once more when it is over."""
