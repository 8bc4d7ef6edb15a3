"""Rows that workers process under a lease: jobs, batches and comparisons."""
