"""How the running service bears load: latency, events, errors and memory."""
