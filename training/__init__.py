"""How the shipped classifier and the map of the Milky Way are made."""
