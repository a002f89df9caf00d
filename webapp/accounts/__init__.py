"""Users, teams, one-time links; permissions.py answers who may do what."""
