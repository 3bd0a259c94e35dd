"""Typed configuration: settings, checks, layers of YAML text. Opens nothing but that text."""
