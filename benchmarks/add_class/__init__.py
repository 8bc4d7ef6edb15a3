"""Accuracy of a class that is added to a tuned model by its name, without photos."""
