"""Asks dada_dbevent to keep the raw data of triggers."""
