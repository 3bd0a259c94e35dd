"""Everything that people type: scripts of bin/, and the interactive commands of ``darc``."""
