"""The one HTTP server, and the colours of all pages."""
