"""Read untrusted archives and images safely."""
