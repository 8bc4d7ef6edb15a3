"""What a job and a model report: evaluation, comparison, model card."""
