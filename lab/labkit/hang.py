# SPDX-License-Identifier: Apache-2.0
"""A host that runs no commands: what its QEMU does, and what its kernel says when it is asked.

Asked over the serial line (SysRq), which needs nothing of the host's user space, and over QEMU's monitor.
"""

import re
import time
from pathlib import Path

from . import qmp
from .errors import LabError

_LINES = 120
# What a kernel says on its console when it is at fault itself. `nowatchdog` leaves it the panics and the oopses.
_KERNEL_FAULT = re.compile(r"Kernel panic|BUG:|Oops|general protection fault|rcu: INFO|blocked for more than")
# What becomes of it when one of several emulated processors runs code that another has changed since
# (docs/adr/0030-processors-that-are-emulated.md).
_EMULATOR_FAULT = "int3: 0000 [#"


def kernel_fault(host):
    """Whether the host's kernel said that it is at fault, and it is not the emulator's."""
    return _KERNEL_FAULT.search(_console(host)) is not None and not emulator_fault(host)


def emulator_fault(host):
    """Whether the host's kernel ran into what only an emulator does to it."""
    return _EMULATOR_FAULT in _console(host)


def report(host):
    """For people, several lines. What hangs must still hang. Takes some seconds."""
    pid = host.process.pid()
    if pid is None:
        return f"{host.name}: QEMU has ended\n{host.tail(80)}"
    parts = [f"{host.name}: runs no commands. {_processors(host)}; {_link(host)}", _threads(pid)]
    tail = host.tail()
    parts.append("--- its kernel, asked for blocked tasks, memory and what its processors do")
    parts += _ask_kernel(host).splitlines()[:_LINES]
    return "\n".join(parts) + f"\n{tail}"


def _processors(host):
    """Where the processors are: /proc/kallsyms of any host has the names, they boot alike."""
    try:
        text = _monitor(host, "info registers -a")
    except LabError as error:
        return str(error)
    at = re.findall(r"RIP=([0-9a-f]+).*HLT=(\d)", text)
    return ", ".join(f"processor {number} at {rip}{' halted' if halted == '1' else ''}"
                     for number, (rip, halted) in enumerate(at))


def _link(host):
    try:
        return " ".join(_monitor(host, "info status").split() + _monitor(host, "info network").split())
    except LabError as error:
        return str(error)


def _monitor(host, line):
    return qmp.command(host.folder, "human-monitor-command", **{"command-line": line})


def _threads(pid):
    """QEMU's threads on the machine: state, and where in the kernel each waits."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
        try:
            state = re.search(r"State:\s+(\S)", (task / "status").read_text()).group(1)
            lines.append(f"  {task.name} {(task / 'comm').read_text().strip()}: {state} "
                         f"{(task / 'wchan').read_text()}")
        except (OSError, AttributeError):
            continue  # a thread that has just ended
    return "\n".join(lines)


def _ask_kernel(host):
    """What it answers to SysRq over the serial line: 9 shows messages of all levels, then w, m and l."""
    before = len(_console(host))
    try:
        with qmp.connect(host.folder, "console.sock") as line:
            for key in b"9wml":
                qmp.command(host.folder, "chardev-send-break", id="console")
                time.sleep(0.3)
                line.send(bytes([key]))
                _until_quiet(host)
    except (LabError, OSError) as error:
        return f"cannot be asked: {error}"
    return _console(host)[before:]


def _until_quiet(host, seconds=10):
    until = time.monotonic() + seconds
    size = -1
    while time.monotonic() < until and size != (size := host.console.stat().st_size):
        time.sleep(1)


def _console(host):
    return host.console.read_text(errors="replace") if host.console.exists() else ""
