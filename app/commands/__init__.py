"""`dspt jobs`, `dspt models` and `dspt predict`: commands on a service, by `dspt_client`."""
