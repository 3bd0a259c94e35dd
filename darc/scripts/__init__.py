"""What the scripts in bin/ run."""
