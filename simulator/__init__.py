"""Simulated telescope, receivers of triggers, demo and cluster in a box."""
