"""Fault injection: no job is lost or done twice when parts of the running service fail."""
