"""`dspt jobs` and `dspt models`: a service from the shell. All of it is calls of `dspt_client`."""
