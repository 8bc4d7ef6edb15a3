"""Classes added to finished classifiers by name."""
