"""Pages of pools and workers, for administrators. Each view parses, calls and renders."""
