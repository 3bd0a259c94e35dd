"""Processing after an observation: folding, drift scans, known repeaters."""
