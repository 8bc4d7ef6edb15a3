"""Tuning jobs: their states, events, hand-over to workers, and the HTTP calls about them."""
