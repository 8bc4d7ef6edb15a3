"""Check that database and storage belong together."""
