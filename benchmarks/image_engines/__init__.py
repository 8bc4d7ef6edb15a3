"""What runs an image tower on a CPU, and how fast: `python -m benchmarks.image_engines`."""
