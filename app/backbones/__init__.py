"""Backbones: the catalog, and which names requests may use."""
