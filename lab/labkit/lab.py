# SPDX-License-Identifier: Apache-2.0
"""A lab: several hosts, the switch between them, and what runs on them."""

import fcntl
import json
import re
import shutil
import signal
import time
from typing import NamedTuple

from . import accel, fabric, kernel, remote
from .boot import boot
from .errors import LabError
from .host import MOST_HOSTS, Host
from .paths import BIN, EXEC, GUEST, LABS, WIRE
from .process import Process

_EXEC_SECONDS = 90


class Daemon(NamedTuple):
    """A daemon of a host. `end`: None while it runs, then its exit code (128+n for a signal) as text."""

    pid: int
    end: str | None


def _quiet(_):
    """Says nothing."""


class Lab:
    """One lab, by name. Its state is in build/lab/NAME, so that any process can take it up.

    As a context manager it is brought up, bound to the life of this process, and taken down.
    Hosts are named hostA, hostB, ... and have 192.168.77.10, .11, ... and fd77::10, ... on eth0.
    Process 1 of each is the server of `exec`, or, with init="systemd", a systemd that runs it.
    """

    def __init__(self, name="default", hosts=2, qmasq=True, memory=1024, cpus=2, mtu=9000,
                 init="exec", say=_quiet):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name) or name == "kernel":
            raise LabError(f"bad lab name '{name}': lower case letters, digits and -, not 'kernel'")
        if not 1 <= hosts <= MOST_HOSTS:
            raise LabError(f"a lab has 1 to {MOST_HOSTS} hosts")
        self.name = name
        self.folder = LABS / name
        self.settings = {"hosts": hosts, "qmasq": qmasq, "memory": memory, "cpus": cpus, "mtu": mtu,
                         "init": init}
        self.hosts = [Host(self.folder, index) for index in range(hosts)]
        self.wire = Process(self.folder / "wire.json")
        self._say = say
        self._ephemeral = False
        self._record = self.folder / "lab.json"

    @classmethod
    def attach(cls, name="default", say=_quiet):
        """The lab that another process brought up."""
        try:
            settings = json.loads((LABS / name / "lab.json").read_text())
        except (OSError, ValueError):
            raise LabError(f"no lab '{name}': ./x lab up --name {name}") from None
        return cls(name, say=say, **settings)

    @staticmethod
    def names():
        """Names of all labs that have state in this build folder."""
        return sorted(path.parent.name for path in LABS.glob("*/lab.json"))

    def __enter__(self):
        self.down()  # what a killed run may have left
        self.up(ephemeral=True)
        return self

    def __exit__(self, *_):
        self.down()

    # Life

    def up(self, ephemeral=False):
        """Boots all hosts in parallel. An ephemeral lab dies with this process."""
        for program in (EXEC, WIRE):
            if not program.exists():
                raise LabError(f"not built: {program.name}. Run ./x build")
        if self.settings["qmasq"]:
            fabric.check_built()
        with self._lock():
            if self.alive():
                raise LabError(f"lab '{self.name}' is running: ./x lab down --name {self.name}")
            self._clear()
            self.folder.mkdir(parents=True)
            self._record.write_text(json.dumps(self.settings))
            self._ephemeral = ephemeral
            try:
                self._start_wire()
                self._power_on(self.hosts)
                if self.settings["qmasq"]:
                    fabric.start(self, self._say)
            except BaseException:
                self._end()  # logs stay for the reader until down or the next up
                raise

    def _power_on(self, hosts):
        self._kernel = kernel.get(self._say)
        self._accel = accel.choose(self._kernel, self._say)
        self._say(f"booting {', '.join(host.name for host in hosts)}: "
                  f"Linux {self._kernel.release}, {self._accel}")
        boot(hosts, self._launch, self._say)
        for host in hosts:
            self._await_exec(host)

    def _start_wire(self):
        self.wire.start([str(WIRE), "wire.sock"], self.folder, self.folder / "wire.log",
                        self._ephemeral)
        until = time.monotonic() + 5
        while not (self.folder / "wire.sock").exists():
            if self.wire.pid() is None or time.monotonic() > until:
                log = (self.folder / "wire.log").read_text()
                raise LabError("the switch did not start\n" + log)
            time.sleep(0.01)

    def _launch(self, host):
        host.launch(self._kernel, self._accel, self.hosts, self.settings, self._ephemeral)

    def _await_exec(self, host):
        # The last step of a boot is to become the command server: that may take a moment.
        remote.run(remote.client(self.name, host.name, ["/bin/true"], wait=_EXEC_SECONDS),
                   _EXEC_SECONDS + 10)

    def down(self):
        """Ends every process of the lab and removes its state. True when there was any."""
        with self._lock():
            found = self.folder.exists()
            self._end()
            self._clear()
        return found

    def _end(self):
        for process in (*(host.process for host in self.hosts), self.wire):
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)  # to all of them first: they end side by side
        for host in self.hosts:
            host.end()
        self.wire.end()

    def _clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def alive(self):
        """Whether any process of the lab lives."""
        return any(p.pid() is not None for p in (self.wire, *(host.process for host in self.hosts)))

    def _lock(self):
        LABS.mkdir(parents=True, exist_ok=True)
        file = open(LABS / f"{self.name}.lock", "w", encoding="ascii")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file  # unlocked when closed

    # Hosts

    def host(self, name):
        """A host by name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"lab '{self.name}' has no host '{name}'")

    def kill_host(self, name):
        """A power cut for one host."""
        self.host(name).end()

    def start_host(self, name):
        """Boots a killed host again, with an empty disk, and without qmasq."""
        host = self.host(name)
        if host.process.pid() is not None:
            raise LabError(f"{name} is running")
        self._power_on([host])

    # Commands

    def exec(self, host, argv, timeout=60, stdin=None, env=None, cwd=None):
        """Runs argv on a host to its end: Result(code, out, err). LabError on timeout."""
        words = remote.client(self.name, host, argv, stdin is not None, env, cwd)
        return remote.run(words, timeout, stdin)

    def check(self, host, argv, timeout=60, stdin=None, env=None, cwd=None):
        """As `exec`, for commands that must succeed: returns standard output, else LabError."""
        result = self.exec(host, argv, timeout, stdin, env, cwd)
        if result.code != 0:
            raise LabError(
                f"{host}: {' '.join(map(str, argv))}: exit {result.code}\n{result.out}{result.err}"
            )
        return result.out

    def spawn(self, host, argv, env=None, cwd=None):
        """Runs argv on a host in the background; it ends with this process at the latest."""
        return remote.Running(remote.client(self.name, host, argv, env=env, cwd=cwd))

    # Daemons: they stay when their starter goes; output in build/lab/LAB/HOST/NAME.log

    def daemon(self, host, name, argv):
        """Starts a daemon on a host under a name."""
        self.check(host, [GUEST / "daemon.sh", name, *argv])

    def daemons(self, host, timeout=60):
        """Those that were started on a host, by name: Daemon."""
        script = ('for f in /run/lab-*.pid; do [ -e "$f" ] || continue; n=${f%.pid}; p=$(cat "$f"); '
                  'kill -0 "$p" 2>/dev/null && e=- || e=$(cat "$n.end" || echo "?"); '
                  'echo "${n#/run/lab-} $p $e"; done')
        lines = self.check(host, ["bash", "-c", script], timeout).splitlines()
        return {name: Daemon(int(pid), None if end == "-" else end)
                for name, pid, end in map(str.split, lines)}

    def daemon_alive(self, host, name):
        """Whether the daemon of that name runs."""
        script = f'p=$(cat /run/lab-{name}.pid) && kill -0 "$p" 2>/dev/null'
        return self.exec(host, ["bash", "-c", script]).code == 0

    def signal_daemon(self, host, name, number):
        """Signals a daemon and does not wait."""
        self.check(host, ["bash", "-c", f'kill -{int(number)} "$(cat /run/lab-{name}.pid)"'])

    def stop_daemon(self, host, name, number=signal.SIGTERM, timeout=10):
        """Signals a daemon and waits until it is gone."""
        script = (
            f'p=$(cat /run/lab-{name}.pid) || exit 1; kill -{int(number)} "$p" || exit 1\n'
            f'for ((i = 0; i < {int(timeout * 20)}; i++)); do\n'
            '  kill -0 "$p" 2>/dev/null || exit 0\n  sleep 0.05\ndone\nexit 1'
        )
        self.check(host, ["bash", "-c", script], timeout + 20)

    def log_tail(self, host, name, lines=25):
        """The last lines of a daemon's log."""
        path = self.host(host).folder / f"{name}.log"
        text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
        return f"--- {host} {name}.log\n" + "\n".join(text)

    def bin(self, name):
        """Path of one of our programs, the same on the machine and on the hosts."""
        return BIN / name
