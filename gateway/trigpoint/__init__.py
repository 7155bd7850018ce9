"""Trigpoint's gateway: verifies what boards sign, keeps it in a log, anchors the log's head on a chain."""
