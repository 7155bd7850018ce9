"""The Merkle log of docs/protocol.md section 9: RFC 9162 hashes, C2SP tiles and checkpoints. No I/O, no SQL."""
