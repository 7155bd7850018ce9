"""Checks all that a gateway keeps, against itself, and names the first thing that is broken and what to do about it."""
