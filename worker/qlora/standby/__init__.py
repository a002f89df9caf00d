"""A process that has imported what training needs and waits: a run is a fork of it, seven seconds ahead of a new process."""
