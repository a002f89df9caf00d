"""Jobs, their attempts and their events: the queue and the live path."""
