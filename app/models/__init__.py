"""Tuned classifiers: listing, download, removal, and the aliases that point to them."""
