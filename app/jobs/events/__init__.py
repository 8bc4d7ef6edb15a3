"""Events of jobs: lists and streams."""
