"""The commands of `trigpoint`, one module for each topic: options in, calls of the parts, text out."""
