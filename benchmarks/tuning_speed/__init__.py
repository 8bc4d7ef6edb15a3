"""Seconds and memory of prompt tuning: the plain trainer of CoOp and NLPrompt, and ours.

Both have the same random weights, photos, data order and seed. They run in turns, a step of one and
then steps of the other, each in its own process. `setup` makes model and photos, `plain` and `ours`
are the trainers, `run` runs them in turns, `stages` reads the memory of a whole job.
"""
