"""`dspt serve`: the whole service as one process tree on one machine.

The supervisor starts a private Redis, one worker and the API, watches them and stops them. All of
them run, or none. No process outlives the supervisor:

- all parts, with the processes that they start, are in the process group of a watchdog;
- the watchdog waits for the end of a pipe from the supervisor. The pipe ends when the supervisor
  is gone, also after `kill -9`; then the watchdog ends the group;
- on Linux each part also requests SIGTERM at its parent's death (PR_SET_PDEATHSIG), in case the
  watchdog is killed as well.

Process managers such as honcho and circus do not replace this: neither ends the processes of a
manager that was killed, and honcho has no readiness checks and no order of start and stop.
"""

from __future__ import annotations


class ServeError(Exception):
    """`dspt serve` cannot start, or has to end. The message is shown to the user as it is."""
