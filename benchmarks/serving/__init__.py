"""How many images per second the service classifies, compared with its image tower alone."""
