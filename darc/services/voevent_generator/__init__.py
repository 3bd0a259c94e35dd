"""Tells the world of a trigger by VOEvent."""
