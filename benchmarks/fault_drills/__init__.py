"""What becomes of jobs when parts of the running service are killed, starved or lied to."""
