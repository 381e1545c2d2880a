# SPDX-License-Identifier: Apache-2.0
"""Commands on lab hosts, over qmasq-lab-exec."""

import re
import signal
import subprocess
import threading
import time
from typing import NamedTuple

from .errors import LabError
from .paths import EXEC, LABS


class Result(NamedTuple):
    """What a command left: exit code (128+n for a signal), standard output and error as text."""

    code: int
    out: str
    err: str


def client(lab, host, argv, stdin=False, env=None, cwd=None, wait=0):
    """The command line that runs argv on a host."""
    words = [str(EXEC), "run", "--labs", str(LABS), "--name", lab, host]
    if stdin:
        words.append("-i")
    if cwd is not None:
        words += ["--cwd", str(cwd)]
    for name, value in (env or {}).items():
        words += ["--env", f"{name}={value}"]
    if wait:
        words += ["--wait", str(wait)]
    return [*words, "--", *map(str, argv)]


def run(words, timeout, text=None):
    """Runs a client command line to its end. On timeout the command is killed, and LabError."""
    with subprocess.Popen(
        words, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:
        try:
            out, err = process.communicate(text, timeout)
        except subprocess.TimeoutExpired:
            process.kill()  # the host sees the connection end, and ends the command
            out, err = process.communicate()
            command = " ".join(words[words.index("--") + 1:])
            raise LabError(
                f"no end after {timeout} s: {command}\n--- stdout\n{out}\n--- stderr\n{err}"
            ) from None
        except BaseException:
            process.kill()
            raise
    result = Result(process.returncode, out, err)
    if result.code == 255 and "qmasq-lab-exec: " in err:
        raise LabError(err.strip())
    return result


class Running:
    """A command that runs on a host in the background. Thread-safe."""

    def __init__(self, words):
        self._command = " ".join(words[words.index("--") + 1:])
        self._changed = threading.Condition()
        self._text = {"out": "", "err": ""}
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", bufsize=1,
        )
        self._readers = [
            threading.Thread(target=self._read, args=("out", self._process.stdout), daemon=True),
            threading.Thread(target=self._read, args=("err", self._process.stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name, stream):
        with stream:
            for line in stream:
                with self._changed:
                    self._text[name] += line
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def out(self):
        """Standard output so far."""
        with self._changed:
            return self._text["out"]

    @property
    def err(self):
        """Standard error so far."""
        with self._changed:
            return self._text["err"]

    def running(self):
        """Whether the command has not ended yet."""
        return self._process.poll() is None

    def wait_for(self, pattern, timeout=30):
        """Waits until a line of output or error matches; returns the match."""
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                for text in self._text.values():
                    found = re.search(pattern, text, re.MULTILINE)
                    if found:
                        return found
                left = until - time.monotonic()
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or left <= 0:
                    why = "ended" if ended else f"{timeout} s passed"
                    raise LabError(
                        f"{why} without {pattern!r}: {self._command}\n"
                        f"--- stdout\n{self._text['out']}\n--- stderr\n{self._text['err']}"
                    )
                self._changed.wait(min(left, 0.2))

    def wait(self, timeout=60):
        """Waits for the end; returns the Result. On timeout the command is killed, and LabError."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise LabError(
                f"no end after {timeout} s: {self._command}\n"
                f"--- stdout\n{self.out}\n--- stderr\n{self.err}"
            ) from None
        for reader in self._readers:
            reader.join()
        return Result(code, self.out, self.err)

    def signal(self, number=signal.SIGINT):
        """Sends SIGINT, SIGTERM, SIGHUP or SIGQUIT to the command's process group."""
        self._process.send_signal(number)

    def stop(self, timeout=10):
        """SIGINT, then waits for the end; returns the Result."""
        if self.running():
            self.signal()
        return self.wait(timeout)

    def kill(self):
        """Ends the command at once, as a vanished user would."""
        self._process.kill()
        self._process.wait()
