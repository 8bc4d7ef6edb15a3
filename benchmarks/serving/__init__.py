"""How many images a second the service classifies, beside its image tower by itself."""
