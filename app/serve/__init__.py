"""`dspt serve`: the whole stack as one process tree on one machine.

The supervisor starts a private Redis, one worker and the API, watches them and stops them. No
process outlives it:

- each part runs in a process group of its own, and a stop ends the group, so the worker's pool
  process goes with the worker;
- a watchdog process holds the reading end of a pipe from the supervisor. When the supervisor is
  gone, even by `kill -9`, the pipe ends and the watchdog ends every group still listed;
- on Linux each part also asks the kernel for SIGTERM at its parent's death (PR_SET_PDEATHSIG),
  which covers the moment before the watchdog has heard of it, and the watchdog's own death.
"""
