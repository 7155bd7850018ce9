"""Measurements: each module has `figures(report)`, which returns name to number."""
