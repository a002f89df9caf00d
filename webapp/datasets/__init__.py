"""Datasets and their immutable versions, checked line by line before anyone trains on them."""
