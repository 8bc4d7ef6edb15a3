"""Throughput of several hosts, and what faults cost; see `python -m benchmarks.scale --help`."""
