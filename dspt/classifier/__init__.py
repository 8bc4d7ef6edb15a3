"""From embeddings to the classifier that is served."""
