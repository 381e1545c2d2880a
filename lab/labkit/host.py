# SPDX-License-Identifier: Apache-2.0
"""One virtual host: its addresses, its folder, its QEMU process."""

import secrets
import shlex
import signal
import string
import time

from . import qmp
from .errors import LabError
from .paths import PRESET, REPO
from .process import Process

_MGMT = "192.168.78.15"
MOST_HOSTS = len(string.ascii_uppercase)


def host_name(index):
    """hostA, hostB, ..."""
    return "host" + string.ascii_uppercase[index]


class Host:
    """A host of a lab. Its folder is /lab inside it, so that logs are seen live on both sides."""

    def __init__(self, lab_folder, index):
        self.index = index
        self.name = host_name(index)
        self.ipv4 = f"192.168.77.{10 + index}"
        self.ipv6 = f"fd77::{10 + index}"
        # As a GID says it: ::ffff:192.168.77.10.
        self.gid_tail = "c0a8:4d{:02x}".format(10 + index)
        self.folder = lab_folder / self.name
        self.console = self.folder / "console.log"
        self.process = Process(self.folder / "qemu.json")

    def launch(self, kernel, accel, others, settings, dies_with_us):
        """Starts QEMU. The host is up once `poll_up` says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in ("exec.port", "failed", "console.log", "qmp.sock"):
            (self.folder / stale).unlink(missing_ok=True)
        token = self.folder / "exec.token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(16) + "\n")
        names = "".join(f"{host.ipv4} {host.name}\n{host.ipv6} {host.name}\n" for host in others)
        environment = {
            "HOST_NAME": self.name, "IPV4": self.ipv4, "IPV6": self.ipv6, "MGMT": _MGMT,
            "MTU": settings["mtu"], "HOSTS": names, "KERNEL": kernel.release,
            "MODULES": kernel.modules, "REPO": REPO, "PRESET": PRESET,
            "INIT": settings.get("init", "exec"),
        }
        (self.folder / "host.env").write_text(
            "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in environment.items())
        )
        self.process.start(
            self._qemu(kernel, accel, settings), self.folder, self.folder / "qemu.log", dies_with_us
        )

    def _qemu(self, kernel, accel, settings):
        def share(tag, path, writable):
            # remap: inode numbers stay apart although several file systems are below one share.
            access = "" if writable else ",readonly=on"
            path = str(path).replace(",", ",,")
            return [
                "-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{access}",
                "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
            ]

        mac = f"{10 + self.index:02x}"
        return [
            "qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", *machine(accel), "-smp", str(settings["cpus"]),
            "-m", str(settings["memory"]), "-kernel", str(kernel.image),
            "-initrd", str(kernel.initramfs), "-append", command_line(),
            "-chardev", "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log",
            "-serial", "chardev:console", "-qmp", "unix:qmp.sock,server=on,wait=off",
            "-device", "virtio-rng-pci",
            *share("root", "/", False), *share("lab", self.folder, True),
            *share("repo", REPO, False),
            # The lab's network comes first, so that it is eth0.
            "-netdev", "stream,id=lab,server=off,addr.type=unix,addr.path=../wire.sock",
            "-device", f"virtio-net-pci,netdev=lab,romfile=,mac=52:54:00:77:00:{mac}",
            # restrict=on: nothing leaves the host this way; port 0: QEMU takes a free one.
            "-netdev", "user,id=mgmt,restrict=on,ipv6=off,net=192.168.78.0/24,"
            f"hostfwd=tcp:127.0.0.1:0-{_MGMT}:7700",
            "-device", f"virtio-net-pci,netdev=mgmt,romfile=,mac=52:54:00:78:00:{mac}",
        ]

    def poll_up(self):
        """True when the host runs commands, False when not yet; raises when it never will."""
        if self.process.pid() is None or (self.folder / "failed").exists():
            raise LabError(f"{self.name} died while booting\n{self.tail()}")
        if not self.console.exists() or b"lab: host is up" not in self.console.read_bytes():
            return False
        port = qmp.forwarded_port(self.folder)
        (self.folder / "exec.port").write_text(f"{port}\n")
        return True

    def tail(self, lines=25):
        """The end of what QEMU and the console said."""
        text = ""
        for path in (self.folder / "qemu.log", self.console):
            if path.exists():
                last = path.read_text(errors="replace").splitlines()[-lines:]
                text += f"--- {path.relative_to(REPO)}\n" + "\n".join(last) + "\n"
        return text

    def end(self):
        """Ends the host as a power cut would."""
        (self.folder / "exec.port").unlink(missing_ok=True)
        self.process.end()

    def pause(self):
        """Freezes the host: its peers see it stop answering."""
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        """Undoes `pause`."""
        self.process.signal(signal.SIGCONT)

    def set_cable(self, plugged):
        """Pulls the cable of eth0, or plugs it in again: the host itself sees that."""
        qmp.command(self.folder, "set_link", name="lab", up=plugged)

    def uptime(self):
        """Seconds since QEMU was started, or None when it does not run."""
        record = self.folder / "qemu.json"
        return time.time() - record.stat().st_mtime if self.process.pid() is not None else None


def machine(accel):
    """QEMU's machine and processor for an accelerator."""
    if accel == "kvm":
        return ["-machine", "q35", "-accel", "kvm", "-cpu", "host"]
    return ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]


def command_line(extra=""):
    """The kernel's command line: all that makes a boot shorter, and death instead of a hang."""
    return (
        "console=ttyS0 quiet panic=-1 sysrq_always_enabled mitigations=off nokaslr no_timer_check tsc=reliable "
        "random.trust_cpu=on net.ifnames=0 cryptomgr.notests nowatchdog " + extra
    ).strip()
