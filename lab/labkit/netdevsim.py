# SPDX-License-Identifier: Apache-2.0
"""netdevsim for the lab's kernel: NICs with a switch, virtual functions and devlink, simulated.

Debian's kernel comes without this module. It is built here out of Debian's own source of the same
version, against Debian's headers: downloaded and unpacked below build/lab/, never installed.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import LabError
from .paths import LABS

_FOLDER = LABS / "netdevsim"
_SOURCES = "drivers/net/netdevsim"


def get(kernel, say):
    """Path of netdevsim.ko for `kernel`; built the first time. `say` prints progress."""
    module = _FOLDER / kernel.release / "netdevsim.ko"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with open(_FOLDER / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not module.exists():
            module.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
                built = _build(Path(folder), kernel, say)
                os.replace(built, module)
    return module


def load(lab, host, module):
    """Loads the module on a host, unless it is there."""
    script = f"modprobe psample && (test -d /sys/bus/netdevsim || insmod {module})"
    result = lab.exec(host, ["bash", "-c", script])
    if result.code != 0:
        raise LabError(f"{host} does not load {module}\n{result.out}{result.err}")


def _build(folder, kernel, say):
    version = _version(kernel)
    major = ".".join(version.split(".")[:2])
    headers = f"linux-headers-{kernel.release}"
    common = f"linux-headers-{kernel.release.removesuffix('-amd64')}-common"
    root = folder / "root"
    for name in (headers, common, f"linux-kbuild-{major}", "linux-compiler-gcc-12-x86"):
        _run(["dpkg-deb", "-x", _download(folder, f"{name}={version}", say), root])
    source = _download(folder, f"linux-source-{major}={version}", say)
    say(f"building netdevsim for {kernel.release}")
    _unpack_sources(source, major, folder)
    source.unlink()
    sources = folder / f"linux-source-{major}" / _SOURCES
    # Debian's headers point at each other by where they would be installed.
    build = root / "usr" / "src" / headers
    (build / "Makefile").write_text(f"include {root}/usr/src/{common}/Makefile\n")
    _run(["make", "-j2", "-C", build, f"M={sources}", "CONFIG_NETDEVSIM=m", "modules"])
    module = sources / "netdevsim.ko"
    _run(["strip", "--strip-debug", module])
    return module


def _version(kernel):
    """Version of the package that the kernel came from, as its banner says it."""
    found = re.search(rb"Debian (\d+\.\d+\.\S+) \(", kernel.image.read_bytes())
    if found is None:
        raise LabError(f"{kernel.image} does not say which Debian package it is of")
    return found[1].decode()


def _download(folder, package, say):
    say(f"downloading {package}")
    before = set(folder.glob("*.deb"))
    try:
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=folder)
    except LabError as error:
        raise LabError(
            f"{error}\nWhere Debian has this version no more: apt-get update, and remove "
            "build/lab/kernel so that the lab gets the kernel of today"
        ) from error
    (archive,) = set(folder.glob("*.deb")) - before
    return archive


def _unpack_sources(package, major, folder):
    """Takes one driver out of a package that holds all of Linux, without storing the rest."""
    steps = [
        ["dpkg-deb", "--fsys-tarfile", package],
        ["tar", "-xO", f"./usr/src/linux-source-{major}.tar.xz"],
        ["xz", "-dc"],
        ["tar", "-x", "-C", folder, f"linux-source-{major}/{_SOURCES}"],
    ]
    running = []
    for argv in steps:
        argv = [str(word) for word in argv]
        taken = running[-1].stdout if running else subprocess.DEVNULL
        # pylint: disable-next=consider-using-with
        running.append(subprocess.Popen(argv, stdin=taken, stdout=subprocess.PIPE))
        if running[:-1]:
            taken.close()
    running[-1].stdout.close()
    for process, argv in reversed(list(zip(running, steps))):
        if process.wait() != 0:
            raise LabError(f"{argv[0]}: exit {process.returncode} while unpacking {package.name}")


def _run(argv, cwd=None):
    if shutil.which(argv[0]) is None:
        raise LabError(f"{argv[0]} is missing: ./x setup installs it")
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")
