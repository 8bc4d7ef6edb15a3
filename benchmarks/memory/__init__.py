"""Memory of `dspt serve`."""
