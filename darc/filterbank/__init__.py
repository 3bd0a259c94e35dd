"""What reads and writes SIGPROC filterbank files."""
