"""The service beside the servers that people use in its place."""
