"""The HTTP front end: jobs, models, predictions. One package per feature, shared parts in kit/."""
