"""The darc_master process: command port, services and observations of a node."""
