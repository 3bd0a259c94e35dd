"""Writes the status page, serves it, and tells open pages of changes: see docs/status_page.md."""
