"""The lines of `dspt --help`, so that it imports none of the commands."""

SUMMARIES = {
    "api": "Run the HTTP API alone, until Ctrl-C.",
    "backup": "Back up the database and the stored files, while the service runs.",
    "batches": "Thousands of images, classified in the background by a service.",
    "comparisons": "Comparisons of two classifiers, started by `dspt models compare`.",
    "datasets": "The data sets of a service and their photos.",
    "db": "Migrate the database, or check its schema.",
    "doctor": "Check installation, settings and services, and suggest fixes.",
    "feedback": "Correct classes of photos that a service has classified with --capture.",
    "gc": "Delete files left by crashes, and data past its retention.",
    "jobs": "Tune classifiers on a service and check the labels.",
    "keys": "Create, list, rotate and revoke API keys.",
    "models": "The tuned classifiers of a service.",
    "predict": "Classify images with a classifier from a file or from a service.",
    "restore": "Restore the database, and the stored files that are missing, from a backup.",
    "serve": "Run the whole service on this machine until Ctrl-C.",
    "storage": "Manage which storage belongs to the database.",
    "webhooks": "Addresses that receive the ends of jobs and batches.",
    "worker": "Run one worker, which tunes one job at a time, until Ctrl-C.",
}
