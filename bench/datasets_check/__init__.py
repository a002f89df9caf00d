"""The check of dataset files: how fast, how much memory, on files made here."""
