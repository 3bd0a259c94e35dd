"""Typed observations, candidates, triggers, messages and parsets. No I/O."""
