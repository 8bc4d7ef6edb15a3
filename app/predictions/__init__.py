"""Predictions: many models share one image tower per backbone."""
