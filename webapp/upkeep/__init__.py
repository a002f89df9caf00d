"""The dashboard's own housekeeping: what is deleted when, shown before, and how much disk is left."""
