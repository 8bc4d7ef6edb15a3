"""Tests of the running service, over HTTP, from outside."""
