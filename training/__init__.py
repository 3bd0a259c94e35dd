"""Generation of the shipped classifier and of the map of the Milky Way's maximum DM."""
