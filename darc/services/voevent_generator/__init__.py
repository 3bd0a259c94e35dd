"""Announces triggers as VOEvents and GCN notices."""
