"""The status page: what all nodes tell, what is wrong with it, and how it is shown."""
