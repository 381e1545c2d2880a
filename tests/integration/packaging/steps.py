# SPDX-License-Identifier: Apache-2.0
"""What systemd_test.py does under its systemd: the packages, without RDMA (that is lab.packages)."""

import json
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
PACKAGES = REPO / "build/packages"
CLIENT = REPO / "tests/lab/keeper_client.py"
HELD = 500


def run(*words):
    """A command to its end: exit code and all that it said."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120, check=False)
    return done.returncode, done.stdout


class Steps(unittest.TestCase):
    """In this order: each goes on where the one before ended."""

    def must(self, *words):
        """A command that must succeed: what it said."""
        code, said = run(*words)
        self.assertEqual(code, 0, f"{words}: {said}")
        return said

    def show(self, name, field):
        """A property of a unit."""
        return self.must("systemctl", "show", "-P", field, f"qmasq-{name}.service").strip()

    def pid(self, name):
        """Main process of a unit that runs."""
        self.assertEqual(self.show(name, "ActiveState"), "active", run("journalctl", "--no-pager", "-n", "40")[1])
        return int(self.show(name, "MainPID"))

    def eventually(self, condition, what):
        """Waits until a condition holds."""
        until = time.monotonic() + 90
        while not condition():
            self.assertLess(time.monotonic(), until, what + run("journalctl", "--no-pager", "-n", "40")[1])
            time.sleep(0.1)

    def in_sync(self):
        """Whether the agent says so."""
        code, said = run("/usr/bin/qmasq", "agent", "-o", "json")
        return code == 0 and json.loads(said).get("inSync", False)

    def test_1_install(self):
        self.must("ip", "link", "set", "lo", "up")
        said = self.must("dpkg", "--force-unsafe-io", "-i", *sorted(PACKAGES.glob("qmasq*.deb")))
        self.assertIn("Setting up qmasq-vbond", said)
        for name in ("controller", "keeper", "vbond"):
            self.assertEqual(self.show(name, "ActiveState"), "inactive", "installing started it")
        self.must("systemctl", "enable", "--now", "qmasq-controller", "qmasq-keeper", "qmasq-vbond")
        self.assertEqual(self.show("vbond", "ActiveState"), "inactive")
        self.assertEqual(self.show("vbond", "Result"), "exec-condition")

    def test_2_controller(self):
        pid = self.pid("controller")
        self.eventually(lambda: run("/usr/bin/qmasq", "vpc", "list")[0] == 0, "the controller answers")
        self.must("/usr/bin/qmasq", "vpc", "create", "blue", "--range", "10.0.0.0/24")
        self.assertEqual(self.must("stat", "-c", "%U %a", "/var/lib/qmasq").split(), ["qmasq-controller", "700"])
        self.assertRegex(Path(f"/proc/{pid}/status").read_text(), r"CapBnd:\t0{16}")

    def test_3_keeper_outlives_restart_and_kill(self):
        self.must("/usr/bin/python3", "-B", CLIENT, "put", HELD)
        for how in (("restart",), ("kill", "-s", "KILL")):
            before = self.pid("keeper")
            self.must("systemctl", *how, "qmasq-keeper")
            self.eventually(lambda old=before: self.show("keeper", "MainPID") not in ("0", str(old)) and
                            self.show("keeper", "ActiveState") == "active", "another keeper")
            found = json.loads(self.must("/usr/bin/python3", "-B", CLIENT, "list"))
            self.assertEqual(found["tags"], [f"tag {i}" for i in range(HELD)])
            self.assertEqual(found["contents"], [f"file {i}" for i in range(HELD)])
        self.must("/usr/bin/python3", "-B", CLIENT, "drop")
        self.eventually(lambda: self.show("keeper", "NFileDescriptorStore") == "1", "only the table is stored")
        status = Path(f"/proc/{self.pid('keeper')}/status").read_text()
        self.assertRegex(status, r"CapBnd:\t0{16}")

    def test_4_agent(self):
        with open("/etc/qmasq/vbond.conf", "a", encoding="utf-8") as file:
            file.write('QMASQ_VBOND_OPTIONS="--controller unix:/run/qmasq/controller.sock '
                       '--underlay-address 127.0.0.1 --guard off"\n')
        self.must("systemctl", "start", "qmasq-vbond")
        self.eventually(self.in_sync, "the agent is in sync")
        # The features that its sandbox could take from it.
        kernel = self.must("/usr/bin/qmasq", "agent")
        for feature in ("user_notif", "addfd", "process_vm_readv", "pidfd_getfd", "kcmp", "mount_setattr"):
            self.assertIn(feature, kernel)
        status = Path(f"/proc/{self.pid('vbond')}/status").read_text()
        self.assertRegex(status, r"NoNewPrivs:\t1")
        self.assertFalse(int(re.search(r"CapEff:\t(\w+)", status).group(1), 16) >> 13 & 1, "CAP_NET_RAW")

    def test_5_the_keeper_outlives_the_agent_and_an_upgrade(self):
        keeper, agent = self.pid("keeper"), self.pid("vbond")
        self.must("kill", "-9", agent)
        self.eventually(lambda: self.show("vbond", "MainPID") not in ("0", str(agent)) and self.in_sync(),
                        "a new agent")
        agent = self.pid("vbond")
        self.must("dpkg", "--force-unsafe-io", "-i", next(PACKAGES.glob("qmasq-vbond_*.deb")))
        self.assertNotEqual(self.pid("vbond"), agent)
        self.assertEqual(self.pid("keeper"), keeper)
        self.assertIn("--underlay-address", Path("/etc/qmasq/vbond.conf").read_text())

    def test_6_purge(self):
        self.must("dpkg", "-P", "qmasq-vbond", "qmasq-controller")
        self.assertEqual(run("pgrep", "-fa", "^/usr/bin/qmasq-"), (1, ""))
        for path in ("/etc/qmasq/vbond.conf", "/lib/systemd/system/qmasq-vbond.service", "/var/lib/qmasq-vbond"):
            self.assertFalse(Path(path).exists(), path)
        self.assertTrue(Path("/var/lib/qmasq").exists(), "the database and the CA go by hand only")


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True, argv=sys.argv[:1])
