"""What a search engine writes: trigger files of AMBER as they grow, tables of any other."""
