"""Rebuild the built-in backbone's own weights from scratch: `python -m scripts.build_builtin`."""
