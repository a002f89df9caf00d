"""What a job leaves behind: adapters and their downloads."""
