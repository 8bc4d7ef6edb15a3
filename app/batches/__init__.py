"""Batches: thousands of images that a worker classifies with one model."""
