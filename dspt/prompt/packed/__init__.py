"""Packed text encoder layers with a hand-written backward pass."""
