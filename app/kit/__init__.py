"""Parts that every feature shares: settings, database, storage, errors, logging, ids."""
