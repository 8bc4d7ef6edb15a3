"""Tuned classifiers at work: one image tower, many models, one inference thread."""
