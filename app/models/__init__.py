"""Tuned classifiers (models): list, download, import, delete; cards; aliases."""
