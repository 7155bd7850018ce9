"""Mirrors and audits a log from outside, trusting nobody who serves it (docs/operating.md, "The public log")."""
