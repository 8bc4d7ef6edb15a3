"""Garbage collection: files without a row, and data past its retention."""
