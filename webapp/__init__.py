"""The dashboard: users, datasets, jobs, pools and the pages that show them. No torch."""
