"""Tuned classifiers: listing, download, removal."""
