"""What a telescope writes: filterbank files."""
