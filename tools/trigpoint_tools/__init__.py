"""Trigpoint's host tools: emulated boards, the demo, benchmarks and checks."""
