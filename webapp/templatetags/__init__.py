"""Template filters and tags of every page: units and icons."""
