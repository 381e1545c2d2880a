# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command that started them, held by pid and start time.

A pid alone may have been given to another process since; with the start time it cannot be mistaken.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path


def _start_time(pid):
    """Start time of a live process in clock ticks since boot, or None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Process:
    """One background process, recorded in a file so that a later command finds it."""

    def __init__(self, record):
        self._record = Path(record)

    def start(self, argv, directory, log, dies_with_us):
        """Starts argv in a session of its own; dies_with_us ties its life to this process."""
        if dies_with_us:
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        with open(log, "ab") as out:
            child = subprocess.Popen(
                argv,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._record.write_text(json.dumps({"pid": child.pid, "start": _start_time(child.pid)}))
        # Kept so that the interpreter reaps it; a later command does not need to.
        self._child = child

    def pid(self):
        """The pid while the process lives, else None."""
        try:
            held = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        if hasattr(self, "_child"):
            self._child.poll()
        start = _start_time(held["pid"])
        return held["pid"] if start is not None and start == held["start"] else None

    def signal(self, number):
        """Sends a signal if the process lives. True when it did."""
        pid = self.pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self, grace=2.0):
        """SIGTERM, then SIGKILL after `grace` seconds; returns when the process is gone."""
        self.signal(signal.SIGCONT)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.signal(number):
                break
            until = time.monotonic() + grace
            while self.pid() is not None and time.monotonic() < until:
                time.sleep(0.02)
        self._reap()
        self._record.unlink(missing_ok=True)

    def _reap(self):
        """Takes the exit status of a child of ours, which stays a zombie until somebody does."""
        if hasattr(self, "_child") and self.pid() is None:
            self._child.wait()
