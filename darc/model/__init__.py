"""What describes: typed configuration, observations, candidates and triggers. No I/O."""
