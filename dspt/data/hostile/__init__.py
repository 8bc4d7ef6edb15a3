"""What makes archives and images from strangers safe to read."""
