"""What can be tuned."""
