"""Deleting what nobody needs any more: files without a row, and what is kept for a time only."""
