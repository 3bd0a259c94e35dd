"""Commands for people: the scripts of bin/, and the interactive commands of ``darc``."""
