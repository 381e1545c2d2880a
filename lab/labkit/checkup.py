# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a lab in which something failed: its machines, its kernels, its daemons.

A test that fails says what it missed, not why a whole host fell silent. This tells the two apart, and says where
what hangs is hanging, as long as it still hangs.
"""

import collections
import concurrent.futures
import re
import subprocess
import time
from typing import NamedTuple

from . import fabric, hang
from .errors import LabError
from .paths import BIN

_ANSWER_SECONDS = 15
_SYNC_SECONDS = 30
_STACKS_SECONDS = 120

# Where the threads of a process are, in the kernel (a line each), and in the program if there is a debugger.
_STACKS = """
grep State: /proc/{pid}/status
for task in /proc/{pid}/task/*; do
  echo "$(cat "$task/comm"): $(grep -o '[^ ]*+0x' "$task/stack" | head -6 | sed 's/+0x//' | tr '\\n' ' ')"
done
command -v gdb >/dev/null && timeout 100 gdb -p {pid} -batch -ex 'thread apply all bt 24' 2>/dev/null |
  grep -E '^(Thread|#)'"""
_SURROUNDINGS = """
for peer in {peers}; do ping -c 1 -W 2 "$peer" | sed -n 2p; done
ip -s link show eth0; free -m; dmesg -l warn+ | tail -n 20"""


class Checkup(NamedTuple):
    """`well`: everything is there and in sync. `machine`: a machine ended or hangs, and its kernel did not say that
    it is at fault: the emulator's fault, as far as can be told. `text`: what was found, for people."""

    well: bool
    machine: bool
    text: str


def _silent(lab):
    """Names of the hosts that run no commands."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = {host.name: pool.submit(_answers, lab, host) for host in lab.hosts}
    return [name for name, answer in answers.items() if not answer.result()]


def look(lab):
    """Looks at all of a lab: Checkup. Takes a moment when it is well, up to minutes when it is not."""
    lost = _silent(lab)
    if lost:
        hosts = [lab.host(name) for name in lost]
        text = "".join(hang.report(host) for host in hosts)
        return Checkup(False, not any(map(hang.kernel_fault, lab.hosts)), text)
    if lab.wire.pid() is None:
        return Checkup(False, False, "the switch has ended\n" + (lab.folder / "wire.log").read_text(errors="replace"))
    if not lab.settings["qmasq"]:
        return Checkup(True, False, "")
    try:
        fabric.wait_in_sync(lab, _SYNC_SECONDS)
    except LabError as error:
        # The rest of it is the daemons' logs.
        text = str(error).partition("\n")[0] + "\n" + "".join(_of_daemons(lab, host) for host in lab.hosts)
        return Checkup(False, any(map(hang.emulator_fault, lab.hosts)), text)
    return Checkup(True, False, "")


def _answers(lab, host):
    if host.process.pid() is None:
        return False
    try:
        return lab.exec(host.name, ["/bin/true"], timeout=_ANSWER_SECONDS).code == 0
    except LabError:
        return False


def _of_daemons(lab, host):
    """Of a host that runs commands: its daemons, where an agent that is not in sync stands, what its kernel says."""
    parts = [f"--- {host.name}"]
    try:
        for name, daemon in lab.daemons(host.name, _ANSWER_SECONDS).items():
            parts.append(f"{name}: pid {daemon.pid}" + (f" has ended, exit {daemon.end}" if daemon.end else ""))
            parts.append(lab.log_tail(host.name, name))
            if daemon.end:
                parts += _of_core(host, name, daemon.pid)
            elif name == "vbond" and not fabric.agent_in_sync(lab, host.name, _ANSWER_SECONDS):
                stacks = lab.exec(host.name, ["bash", "-c", _STACKS.format(pid=daemon.pid)], _STACKS_SECONDS)
                parts += _told_once(stacks.out)
        parts.append(f"its clock is {float(lab.check(host.name, ['date', '+%s.%N'])) - time.time():.1f} s ahead")
        peers = " ".join(other.ipv4 for other in lab.hosts if other is not host)
        parts.append(lab.exec(host.name, ["bash", "-c", _SURROUNDINGS.format(peers=peers)], _ANSWER_SECONDS).out)
    except LabError as error:
        parts.append(str(error))
    return "\n".join(parts) + "\n"


def _of_core(host, name, pid):
    """Where a daemon crashed, if it did, as the machine's debugger reads its core."""
    core = host.folder / f"core.{pid}"
    if not core.exists():
        return []
    try:
        out = subprocess.run(
            ["gdb", "-batch", BIN / f"qmasq-{name}", core, "-ex", "bt 40", "-ex", "thread apply all bt 24"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_STACKS_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{core}: {error}"]
    first, _, others = out.partition("\nThread ")
    crashed = [line[:240] for line in first.splitlines() if line.startswith(("#", "Program terminated"))]
    return [f"--- {core.name}", *crashed, *_told_once("Thread " + others)]


def _told_once(stacks):
    """Threads that stand at the same place are told of once. Of the program's frames, the innermost and our own."""
    lines = []
    for line in filter(None, stacks.splitlines()):
        frame = re.match(r"#(\d+) +(?:0x[0-9a-f]+ in )?(.+?) \(", line)
        if frame is None:
            thread = re.match(r'Thread (?:.*"(.*)")?', line)
            lines.append(f"  {thread.group(1) or 'thread'}:" if thread else f"  {line}")
        elif frame.group(1) == "0" or frame.group(2).startswith("qmasq::"):
            function = frame.group(2).replace("(anonymous namespace)::", "").partition("(")[0]
            lines[-1] += (" < " if frame.group(1) != "0" else " ") + function.removeprefix("qmasq::")
    return [f"{count:3}x {line}" for line, count in collections.Counter(lines).items()]
