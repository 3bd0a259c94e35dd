"""``darc`` for people at a terminal, a module for each word; none is imported by the others."""
