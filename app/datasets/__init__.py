"""Data sets: uploaded zips of labelled photos, and corrections of their labels."""
