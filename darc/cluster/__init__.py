"""The nodes of a cluster, seen from one of them: start and stop all, ask all, observe with all."""
