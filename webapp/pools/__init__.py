"""Worker pools, the machines in them and the one-time tokens that let a machine join."""
