"""Clusters candidates, and decides which clusters are triggers."""
