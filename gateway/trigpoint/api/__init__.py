"""The HTTP API: what a gateway has stored, for reading (docs/operating.md, "HTTP API")."""
