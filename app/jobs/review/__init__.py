"""Review of a job: its audit, and corrections of its labels."""
