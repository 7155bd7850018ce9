"""Checks of the sources that no ready tool makes; `make check` runs them."""
