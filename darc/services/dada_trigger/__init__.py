"""Requests raw-data dumps of triggers from dada_dbevent."""
