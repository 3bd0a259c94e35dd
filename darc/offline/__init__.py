"""What is done with an observation's files when it is over."""
