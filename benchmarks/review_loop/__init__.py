"""What reviewing labels is worth: accuracy after a person has reviewed the audit's first labels."""
