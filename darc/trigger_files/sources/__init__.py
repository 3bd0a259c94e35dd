"""Candidate sources: a module per search engine (docs/candidate_sources.md)."""
