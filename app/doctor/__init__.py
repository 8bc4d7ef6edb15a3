"""`dspt doctor`: check installation, settings and services, and suggest fixes."""
