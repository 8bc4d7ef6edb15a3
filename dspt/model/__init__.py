"""The artefact of a tuned classifier, and what is done with it."""
