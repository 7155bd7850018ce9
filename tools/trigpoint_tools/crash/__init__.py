"""Kills gateways and breaks the disk under them, while boards send, and finds out what was lost."""
