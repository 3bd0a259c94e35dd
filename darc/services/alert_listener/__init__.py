"""Listens to notices of others, and acts by rules: deeper search, a dump, an e-mail."""
