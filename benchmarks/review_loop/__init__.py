"""What it pays to review labels: accuracy after a person has looked at the first k of the audit."""
