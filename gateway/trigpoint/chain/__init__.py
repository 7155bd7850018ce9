"""The EVM chain: the contracts, the registry's mirror, and the anchors of the log."""
