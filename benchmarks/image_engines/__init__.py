"""Speed and agreement of the engines that can run an image tower on a CPU."""
