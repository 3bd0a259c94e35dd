"""Names of a node's own processes in supervisord, beside those of its services."""

from __future__ import annotations

MASTER, MONITOR = "darc_master", "darc_monitor"
