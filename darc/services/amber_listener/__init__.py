"""Reads the trigger files of AMBER as they grow, and publishes their candidates."""
