"""Brings a dataset's files from an address: the network, and nothing else. No Django, no tensors, no secrets but the task's."""
