"""What a class is worth that is added to a tuned model by its name, without a photo of it."""
