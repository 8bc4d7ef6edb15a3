"""Accuracy of prompt tuning and of its alternatives under label noise.

A cell is one data set, number of shots, kind of noise and seed. Every method is fitted on the same
few shots with the same wrong labels and measured on the same clean test images.

    settings                 the grid and the methods
    datasets, coop           read data sets
    encode                   features of the data sets
    classes                  data sets of any number of classes, drawn from those at hand
    methods, linear          the methods
    run, grid                all methods on each cell; keeps what is finished
    summary, report, figures
"""
