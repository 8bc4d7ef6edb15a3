"""Seconds and memory of prompt tuning: the plain trainer of CoOp and NLPrompt, and ours.

Both get the same random weights, photos, data order and seed, and run by turns, a step of one and
then steps of the other, each in a process of its own. `setup` makes model and photos, `plain` and
`ours` are the trainers, `worker` holds one in its process, `measure` runs them by turns, `growth`
times ours over many numbers of classes, `report` tells the result.
"""
