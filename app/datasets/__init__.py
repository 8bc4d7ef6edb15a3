"""Uploaded zips of labelled photos, and corrections of their labels, each stored once."""
