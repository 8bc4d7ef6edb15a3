"""Uploaded zips of labelled photos, each stored once."""
