"""Accuracy of prompt tuning under label noise, against its peers; one command does all of it.

A cell is one data set, number of shots, kind of noise and seed; every method is fitted on the same
few shots with the same wrong labels and measured on the same clean test images. `settings` says
what is run, `datasets` and `encode` give the features, `methods` and `linear` the methods, `cells`
and `pool` run them, `summary`, `table` and the figures tell the result.
"""
