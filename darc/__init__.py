"""DARC: Data Analysis of Real-time Candidates."""

__version__ = "0.1.0"
