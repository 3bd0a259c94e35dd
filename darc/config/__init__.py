"""Typed configuration: settings, checks, and layers of YAML text. This package reads no files."""
