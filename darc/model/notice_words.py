"""Words of notices of others, which settings name, too."""

from __future__ import annotations

CURRENT = "current"
#: What a notice is about, by GCN's core schema.
TENSES = (CURRENT, "archival", "injection", "test", "commanded", "planned")
