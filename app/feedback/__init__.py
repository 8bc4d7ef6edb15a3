"""Predictions kept on request, the correct classes that people give for them, and drift."""
