"""`dspt doctor`: what is installed, set and running here, and how to mend what is not right."""
