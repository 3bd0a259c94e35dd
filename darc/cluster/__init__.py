"""Operations on all nodes of a cluster: start and stop, commands, observations."""
