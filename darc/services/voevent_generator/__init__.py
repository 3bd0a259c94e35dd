"""Publishes triggers as VOEvents."""
