"""Follows the trigger files that AMBER writes, and hands their candidates on."""
