"""What all benchmarks share: options, the record of a run, resuming, tables.

A benchmark is a folder. Its `__main__.py` makes a `Benchmark` (see `program`) with the options;
`run.py` measures and fills in a document; `report.py` turns the document into Markdown and figures.
`program.run` does the rest: it handles errors and Ctrl-C, notes command, machine and versions, and
writes `<name>.json`, `<name>.md` and the figures to the folder `--out`. With `--report-only` it
writes Markdown and figures again from a stored JSON.

    options   command-line options that several benchmarks have
    program   runs a benchmark from the command line
    machine   processor, versions and code that decide the figures
    records   finished parts on disk, so that a stopped run can be resumed
    sweep     several runs on each data set, with records; wrong labels for them
    child     an object in a process of its own; jobs in several processes
    report    Markdown tables, mean ± standard deviation, goals, the heading of a report
"""
