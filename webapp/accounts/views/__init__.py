"""Pages of accounts: signing in, one-time links, the own account, users and teams."""
