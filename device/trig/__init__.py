"""Trigpoint's board: it measures, signs, keeps, and sends until the gateway has said that it is on disk."""

__version__ = "0.1.0"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the field and says what it should be."""
