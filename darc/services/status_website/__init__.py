"""Writes and serves the status page, and updates open pages: see docs/status_page.md."""
