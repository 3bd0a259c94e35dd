"""Names that the two ends of a queue socket share, so that a client need not load the server."""

from __future__ import annotations

#: The object that a master serves: its queues.
OBJECT = "queues"
#: The object that it serves for darc_monitor.
OF_MONITOR = "monitor"
#: A queue for trying out: the only one from which a person may take.
SCRATCH = "scratch"
#: The attribute of every service that darc_monitor reads.
REPORT = "monitor_report"
