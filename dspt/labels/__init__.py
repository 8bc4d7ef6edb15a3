"""What the labels are worth: noise model, noise rate, audit, corrections."""
