"""Made or recorded trigger files, played into an observation."""
