"""Rows to text, tokens and loss mask, and the check of a dataset file. No tensors, no network, no dashboard."""
