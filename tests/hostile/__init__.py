"""Hostile archives and images of many families, each made from a seed; and ways to send them."""
