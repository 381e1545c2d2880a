# SPDX-License-Identifier: Apache-2.0
"""Debian's stock kernel, unpacked but not installed, and the initramfs that boots it."""

import fcntl
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import LabError
from .paths import GUEST, KERNELS

# In the initramfs: what the root file system needs, then what every host uses, which loads from
# there while the root is being mounted. The rest comes from /lib/modules.
_ROOT = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
# crc32_generic: rxe asks the crypto API for "crc32" and fails without it.
_HOST = ["virtio_net", "virtio_rng", "crc32_generic", "ib_uverbs", "rdma_rxe"]
# Large, and no use to a virtual host.
_LEFT_OUT = ["drivers/gpu", "drivers/media", "drivers/iio", "sound"]


class Kernel:
    """An unpacked kernel: release, image, folder of modules, initramfs."""

    def __init__(self, root, release):
        self.release = release
        self.image = root / "boot" / "vmlinux"
        self.modules = root / "lib" / "modules" / release
        self._root = root

    @property
    def initramfs(self):
        """Path of the initramfs, made anew when lab/guest/init has changed."""
        text = (GUEST / "init").read_bytes()
        name = hashlib.sha256(text + self.release.encode()).hexdigest()[:12]
        path = self._root / f"initramfs-{name}.cpio"
        if not path.exists():
            with _locked():
                if not path.exists():
                    self._make_initramfs(path)
        return path

    def _make_initramfs(self, path):
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            tree = Path(folder)
            for name in ("bin", "modules"):
                (tree / name).mkdir()
            shutil.copy(_busybox(), tree / "bin" / "busybox")
            shutil.copy(GUEST / "init", tree / "init")
            (tree / "init").chmod(0o755)
            done = set()
            for stage, modules in (("root", _ROOT), ("host", _HOST)):
                order = self._with_dependencies(modules, done)
                for module in order:
                    shutil.copy(module, tree / "modules")
                (tree / "modules" / stage).write_text("".join(f"{m.name}\n" for m in order))
            files = "\n".join(str(item.relative_to(tree)) for item in sorted(tree.rglob("*")))
            # Not compressed: the emulated processor would unpack it more slowly than it is read.
            archive = subprocess.run(
                ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
                cwd=tree, input=files.encode(), stdout=subprocess.PIPE, check=True,
            ).stdout
            fresh = path.with_suffix(".new")
            fresh.write_bytes(archive)
            os.replace(fresh, path)

    def _with_dependencies(self, modules, done):
        """Module files in the order to load them, without those in `done`, which grows."""
        order = []
        for module in modules:
            out = _run(["modprobe", "-d", self._root, "-S", self.release, "-D", module])
            for line in out.splitlines():
                words = line.split()
                if words[:1] == ["insmod"] and words[1] not in done:
                    done.add(words[1])
                    order.append(Path(words[1]))
        return order


def get(say):
    """The lab's kernel; downloads and unpacks it the first time. `say` prints progress."""
    with _locked():
        current = KERNELS / "current"
        if not current.exists():
            _unpack(current, say)
        release = current.read_text().strip()
    return Kernel(KERNELS / release, release)


def _unpack(current, say):
    package = _package()
    release = package.removeprefix("linux-image-")
    say(f"downloading {package}")
    with tempfile.TemporaryDirectory(dir=KERNELS) as folder:
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=folder)
        archives = list(Path(folder).glob("*.deb"))
        if len(archives) != 1:
            raise LabError(f"apt-get download {package} left {len(archives)} packages")
        say(f"unpacking {archives[0].name}")
        root = Path(folder) / "root"
        root.mkdir()
        leave_out = [f"--exclude=./lib/modules/*/kernel/{name}" for name in _LEFT_OUT]
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archives[0]], stdout=subprocess.PIPE
        ) as unpacked:
            subprocess.run(
                ["tar", "-x", "-C", root, *leave_out, "./boot", "./lib"],
                stdin=unpacked.stdout, check=True,
            )
        _run(["depmod", "-b", root, release])
        _unpack_image(root / "boot" / f"vmlinuz-{release}", root / "boot" / "vmlinux")
        shutil.rmtree(KERNELS / release, ignore_errors=True)
        root.rename(KERNELS / release)
        root.mkdir()  # the temporary folder goes as a whole
    current.write_text(release + "\n")


def _unpack_image(packed, image):
    """Takes the kernel proper out of its self-extracting image.

    QEMU starts it directly (PVH), which spares the emulated processor some seconds of
    decompression and firmware at every boot.
    """
    data = packed.read_bytes()
    start = data.find(b"\xfd7zXZ\x00")
    kernel = b"" if start < 0 else lzma.LZMADecompressor().decompress(data[start:])
    if kernel.startswith(b"\x7fELF"):
        image.write_bytes(kernel)
    else:
        shutil.copy(packed, image)  # packed some other way: boots all the same, more slowly


def _package():
    """The package that linux-image-amd64 stands for today."""
    for attempt in range(2):
        out = subprocess.run(
            ["apt-cache", "depends", "linux-image-amd64"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        ).stdout
        for line in out.splitlines():
            words = line.split()
            if words[:1] == ["Depends:"] and words[1].startswith("linux-image-"):
                return words[1]
        if attempt == 0:
            _run(["apt-get", "-q", "update"])
    raise LabError("apt knows no linux-image-amd64: the lab needs Debian's package lists")


def _busybox():
    path = shutil.which("busybox")
    if path is None:
        raise LabError("busybox is missing: ./x setup installs busybox-static")
    return path


def _run(argv, cwd=None):
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class _locked:
    """Several labs may come up at the same moment; one of them prepares the kernel."""

    def __enter__(self):
        KERNELS.mkdir(parents=True, exist_ok=True)
        self._file = open(KERNELS / "lock", "w", encoding="ascii")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self._file.close()
