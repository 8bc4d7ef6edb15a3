"""What all benchmarks share: options, the record of a run, resuming, tables, plots.

A benchmark is a folder with a thin `cli.py` that makes a `Benchmark` (see `program`): its options,
a function that measures and fills in a document, and functions that turn the document into Markdown
and figures. `program.run` does the rest: it handles errors and Ctrl-C, notes command, machine and
versions, and writes `<name>.json`, `<name>.md` and the figures to the folder `--out`. With
`--report-only` it writes Markdown and figures again from a stored JSON.

    options   command-line options that several benchmarks have
    program   runs a benchmark from the command line
    machine   processor, versions and code that decide the figures
    records   finished parts on disk, so that a stopped run can be resumed
    report    Markdown tables, mean ± standard deviation, the heading of a report
    figures   one look for all plots
"""
