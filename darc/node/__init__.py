"""A node's files and processes: home, secret, supervisord, start, stop and kill."""
