"""Base models, with the shape and licence that workers read from their files."""
