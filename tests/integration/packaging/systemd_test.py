# SPDX-License-Identifier: Apache-2.0
"""The Debian packages under a real systemd, as process 1 of namespaces of its own on this machine.

Exit code 77 where this machine does not allow that.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
SECONDS = 400
NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount", "--cgroup", "--uts", "--ipc", "--net")
# In a cgroup of its own: systemd takes what it finds at the top for its own.
ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'


def cgroup_root():
    """Where the cgroup2 hierarchy is, or None."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[2] == "cgroup2" and os.access(words[1], os.W_OK):
            return Path(words[1])
    return None


def remove(group):
    """Removes a cgroup and those below it, which are empty by now."""
    for path in sorted(group.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
    group.rmdir()


def main():
    """0: all steps passed."""
    root = cgroup_root()
    allowed = root and os.geteuid() == 0 and subprocess.run(
        ["unshare", *NAMESPACES, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not allowed:
        print("namespaces and cgroups of its own are not allowed here")
        return 77
    made = subprocess.run([REPO / "scripts/package"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if made.returncode:
        print(made.stdout)
        return 1
    group = root / f"qmasq-test-{os.getpid()}"
    group.mkdir()
    with tempfile.TemporaryDirectory(prefix="qmasq-test-") as output:
        try:
            subprocess.run(["bash", "-c", ENTER, group, "timeout", str(SECONDS), "unshare", *NAMESPACES, "bash",
                            HERE / "container.sh", REPO, HERE / "steps.py", output], check=False)
        finally:
            remove(group)
        log = Path(output) / "steps.log"
        said = log.read_text(encoding="utf-8") if log.exists() else "systemd did not come to the steps"
    print(said)
    return 0 if said.rstrip().endswith("OK") and "Ran 6 tests" in said else 1


if __name__ == "__main__":
    sys.exit(main())
