"""darc_master: command port, services and observations."""
