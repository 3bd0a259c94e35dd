"""HTTP server and style sheet shared by all pages."""
