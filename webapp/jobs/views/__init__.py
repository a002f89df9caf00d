"""Pages of jobs: the list, the form, the job itself. Each view parses, calls and renders."""
