"""The tables."""

from __future__ import annotations

from benchmarks.skeleton.program import Document
from benchmarks.skeleton.report import page, table


def markdown(document: Document) -> str:
    settings, most = document["settings"], document["hosts"][-1]
    faults = [
        [row["fault"], f"{row['jobs_per_second']:.3f}", _share(row, most)]
        for row in document["faults"]
    ]
    return page(
        "The service on several hosts",
        document,
        f"{settings['jobs_per_host']} jobs for each worker host. Each waits "
        f"{settings['gpu_seconds']:g} seconds for a simulated GPU, without CPU; its photos "
        "are read and checked, its model is stored in the bucket, its events in the database. "
        "Hosts are network namespaces of one "
        "machine, which also runs PostgreSQL, Redis, the bucket and the API. Jobs per second count "
        "from the start of the first job to the end of the last one.",
        _by_hosts("jobs per second", document["hosts"], "jobs_per_second"),
        f"Faults on {most['hosts']} hosts, once a third of the jobs is done. An outage lasts "
        f"{settings['away_seconds']} seconds; a job of a lost host is queued again after 2.5 "
        f"heartbeats of {settings['heartbeat_seconds']:g} s. All jobs succeeded, once.",
        table(("fault", "jobs per second", "of undisturbed"), faults),
        f"Predictions of {settings['models']} models in turn by API processes on so many hosts, "
        f"{settings['callers']} callers each, one photo a request. The image tower takes "
        f"{settings['tower_seconds']:g} seconds for a photo, without CPU; all else is real. Every "
        "answer had the labels of its own model.",
        _by_hosts("predictions per second", document["predictions"], "predictions_per_second"),
    )


def _by_hosts(what: str, rows: list[Document], key: str) -> list[str]:
    one, cells = rows[0], []
    for row in rows:
        times = row[key] / one[key]
        share = times * one["hosts"] / row["hosts"]
        cells.append([str(row["hosts"]), f"{row[key]:.3f}", f"{times:.2f}", f"{share:.0%}"])
    return table(("hosts", what, "times", "of linear"), cells)


def _share(row: Document, undisturbed: Document) -> str:
    return f"{row['jobs_per_second'] / undisturbed['jobs_per_second']:.0%}"
