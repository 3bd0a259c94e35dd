"""What is done after an observation: folding, drift scans, known repeaters."""
