"""The messages of docs/protocol.md: bytes in, typed values out, and back. No I/O, no clock, no state."""
