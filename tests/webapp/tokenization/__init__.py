"""Tests of webapp.tokenization."""
