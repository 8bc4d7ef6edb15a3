"""Comparisons of two models on the same images, by a worker or by the API itself."""
