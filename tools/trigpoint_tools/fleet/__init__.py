"""Many emulated boards, and everything that can go wrong with them, on a seeded schedule."""
