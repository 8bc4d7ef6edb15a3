"""How well the audit finds wrong labels, compared with cleanlab on the same features.

A cell is one data set, kind and share of wrong labels, and seed. In each cell every method ranks
the same few shots by how likely their label is wrong. `run` measures cells, `rankings` has the
methods and the scores; `noise_robustness` has the rest. Rankings that were tried for the
audit: benchmarks/results/audit_rankings.md.
"""
