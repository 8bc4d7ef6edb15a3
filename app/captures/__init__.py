"""Photos and answers kept of predictions: what is deleted, and when."""
