"""Gathers candidates into clusters, and decides which are worth a trigger."""
