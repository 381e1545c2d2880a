# SPDX-License-Identifier: Apache-2.0
"""Which accelerator boots the lab: QMASQ_LAB_ACCEL=tcg|kvm, else what a probe says."""

import os
import subprocess
from pathlib import Path

from .errors import LabError
from .host import command_line, machine
from .paths import LABS

_PROBE_SECONDS = 8


def choose(kernel, say):
    """"tcg" or "kvm". The probe's answer is kept until the machine boots anew."""
    wish = os.environ.get("QMASQ_LAB_ACCEL", "")
    if wish in ("tcg", "kvm"):
        return wish
    if wish:
        raise LabError(f"QMASQ_LAB_ACCEL={wish}: must be tcg or kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = LABS / "kernel" / "accel"
    if kept.exists():
        accel, when = kept.read_text().split()
        if when == boot:
            return accel
    say(f"probing whether /dev/kvm boots a kernel (at most {_PROBE_SECONDS} s, once)")
    accel = "kvm" if _probe(kernel) else "tcg"
    say(f"accelerator: {accel}")
    kept.write_text(f"{accel} {boot}\n")
    return accel


def _probe(kernel):
    """True when a kernel reaches user space under KVM in time: the device may be there and hang."""
    argv = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        *machine("kvm"), "-smp", "2", "-m", "256", "-kernel", str(kernel.image),
        "-initrd", str(kernel.initramfs), "-append", command_line("lab.probe"),
        "-serial", "stdio",
    ]
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as qemu:
        try:
            out, _ = qemu.communicate(timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            qemu.kill()
            out, _ = qemu.communicate()
    return b"lab: user space" in out
