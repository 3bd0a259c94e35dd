"""What computes: arrays in, arrays out. No I/O, no configuration object."""
