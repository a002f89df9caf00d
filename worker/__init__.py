"""The GPU side of Nibble: agent, trainer and the contract shared with the dashboard. No Django, no database."""
