"""Datasets as base models read them: statistics of tokens, and rows as tokens with the trained ones marked."""
