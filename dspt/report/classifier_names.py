"""Names of the measured classifiers, for tables."""

from __future__ import annotations


def classifier_names(tuning: object) -> dict[str, str]:
    """Return field of the metrics -> name, for each classifier that the job measured.

    tuning: the setting of the job; None in jobs of earlier versions, which tuned a prompt.
    """
    if tuning == "none":
        return {"zero_shot": "zero-shot", "tuned": "zero-shot with class means"}
    return {"zero_shot": "zero-shot", "prompt": "tuned prompt alone", "tuned": "tuned"}
