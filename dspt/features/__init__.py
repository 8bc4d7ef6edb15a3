"""Encode images once with the frozen tower, and cache the features."""
