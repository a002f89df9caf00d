"""`./start`: sets up this machine and runs all of Nibble on it."""
