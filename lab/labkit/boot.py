# SPDX-License-Identifier: Apache-2.0
"""Powers hosts on and waits until they are up; one that hangs on the way is powered on again.

An emulated host once stayed silent for two minutes while it booted; why is not known. What
its processors were doing is said, so that the next one tells, and no other fault is taken for it.
"""

import time

from . import hang
from .errors import LabError

# Seconds given to each attempt. A boot takes 5 to 20; the last attempt is for a busy machine.
SECONDS = (60, 60, 120)
_POLL_SECONDS = 0.05


class _Attempts:
    """One host's attempts to boot."""

    def __init__(self, host, launch, seconds, say):
        self._host = host
        self._launch = launch
        self._seconds = seconds
        self._say = say
        self._begun = 0.0
        self._number = 0

    def start(self):
        """Powers the host on."""
        self._begun = time.monotonic()
        self._launch(self._host)

    def up(self):
        """Whether the host is up; powers it on again when the attempt's time is over."""
        if self._host.poll_up():
            self._say(f"{self._host.name} is up after {time.monotonic() - self._begun:.1f} s")
            return True
        limit = self._seconds[self._number]
        if time.monotonic() - self._begun > limit:
            self._again(f"{self._host.name} did not boot in {limit} s")
        return False

    def _again(self, what):
        what += f"\n{hang.report(self._host)}".rstrip()
        self._number += 1
        if self._number == len(self._seconds):
            raise LabError(what)
        self._say(f"{what}\npowering {self._host.name} on again")
        self._host.end()
        self.start()


def boot(hosts, launch, say, seconds=SECONDS):
    """Boots hosts side by side with launch(host). LabError when one fails, or hangs each time."""
    waiting = [_Attempts(host, launch, seconds, say) for host in hosts]
    for attempts in waiting:
        attempts.start()
    while waiting := [attempts for attempts in waiting if not attempts.up()]:
        time.sleep(_POLL_SECONDS)
