"""Requests at little cost, for benchmarks that share their CPUs with what they measure."""
