"""Run the main job once from end to end, over HTTP: `make demo`."""
