"""Back up and restore the database and the stored files."""
