"""Images encoded once by the frozen tower, and kept."""
