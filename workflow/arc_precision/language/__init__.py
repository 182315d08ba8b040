"""The grid language that the embedded model writes: its primitives, programs, and tokens."""
