# SPDX-License-Identifier: Apache-2.0
"""qmasq from its Debian packages alone, run by a real systemd, on hosts of a lab of its own.

The hosts have the machine's root file system, so the libraries that the packages depend on are there; dpkg checks them.
"""

import concurrent.futures
import json
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
# pylint: disable=wrong-import-position
from labkit import Lab, LabError
from labkit.paths import REPO
from labkit.tenants import PROGRAMS, Tenants

LAB = "packages"
PACKAGES = REPO / "build/packages"
QMASQ = "/usr/bin/qmasq"
UNITS = {"controller": "qmasq-controller.service", "vbond": "qmasq-vbond.service", "keeper": "qmasq-keeper.service"}
# What an operator would write into /etc/qmasq.
CONTROLLER_OPTIONS = "--listen {controller}:7443"
VBOND_OPTIONS = "--controller {controller}:7443 --underlay-device eth0 --nic rxe0"
PACKAGES_OF = {
    "hostA": ("qmasq", "qmasq-controller", "qmasq-vbond", "qmasq-monitoring"),
    "hostB": ("qmasq", "qmasq-vbond"),
}
# dpkg and systemd read much, over 9p, in an emulated processor.
SLOW_SECONDS = 240


def configuration(name, options):
    """The one line of /etc/qmasq/NAME.conf that counts."""
    return f'QMASQ_{name.upper()}_OPTIONS="{options}"\n'


def capability(name):
    """Number of a capability."""
    text = Path("/usr/include/linux/capability.h").read_text(encoding="utf-8")
    return int(re.search(rf"^#define {name}\s+(\d+)", text, re.M).group(1))


class Packages(unittest.TestCase):
    """hostA has the controller and an agent, hostB an agent."""

    @classmethod
    def setUpClass(cls):
        made = subprocess.run([REPO / "scripts/package"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if made.returncode:
            raise LabError(made.stdout)
        cls.lab = Lab(LAB, qmasq=False, init="systemd", say=lambda text: print(text, flush=True))
        cls.lab.__enter__()
        cls.addClassCleanup(cls.lab.__exit__)
        cls.tenants = Tenants(cls.lab, QMASQ)
        # On all hosts at once: under emulation a host is slow, and two are not slower.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for said in pool.map(cls.install, [host.name for host in cls.lab.hosts]):
                print(said, flush=True)
        cls.configure()

    @classmethod
    def install(cls, host):
        """What somebody with a folder of packages does."""
        packages = [next(PACKAGES.glob(f"{name}_*.deb")) for name in PACKAGES_OF[host]]
        # Its disk is memory: there is nothing to be flushed.
        return cls.lab.check(host, ["dpkg", "--force-unsafe-io", "-i", *packages], timeout=SLOW_SECONDS)

    @classmethod
    def configure(cls):
        """What the README tells an operator to do."""
        first = cls.lab.hosts[0]
        cls.lab.check(first.name, ["runuser", "-u", "qmasq-controller", "--", "qmasq-controller", "init",
                                   "--data-dir", "/var/lib/qmasq", "--address", first.ipv4])
        cls.write(first.name, "controller", CONTROLLER_OPTIONS)
        cls.lab.check(first.name, ["systemctl", "enable", "--now", UNITS["controller"]], timeout=SLOW_SECONDS)
        for host in cls.lab.hosts:
            cls.join(host.name)
            cls.write(host.name, "vbond", VBOND_OPTIONS)
            cls.lab.check(host.name, ["systemctl", "enable", "--now", UNITS["keeper"], UNITS["vbond"]],
                          timeout=SLOW_SECONDS)
        cls.await_in_sync()

    @classmethod
    def join(cls, host, timeout=SLOW_SECONDS):
        """Gives a host its certificate, as docs/authentication.md says."""
        first = cls.lab.hosts[0]
        until = time.monotonic() + timeout
        while (token := cls.lab.exec(first.name, [QMASQ, "host", "token", host])).code == 3:
            if time.monotonic() > until:
                raise LabError(token.err)
            time.sleep(0.5)
        cls.lab.check(host, ["qmasq-vbond", "join", "--controller", f"{first.ipv4}:7443", "--token-file", "-"],
                      stdin=token.out)

    @classmethod
    def write(cls, host, name, options):
        """Writes a file of /etc/qmasq."""
        text = configuration(name, options.format(controller=cls.lab.hosts[0].ipv4))
        cls.lab.check(host, ["tee", "-a", f"/etc/qmasq/{name}.conf"], stdin=text)

    @classmethod
    def await_in_sync(cls, timeout=SLOW_SECONDS):
        """Until the controller and each agent say so."""
        until = time.monotonic() + timeout
        names = {host.name for host in cls.lab.hosts}
        while True:
            there = {name for name in names if cls.agent(name).get("inSync")}
            if there == names:
                return
            if time.monotonic() > until:
                logs = "\n".join(cls.lab.exec(name, ["journalctl", "-b", "--no-pager", "-n", "60"]).out
                                 for name in sorted(names))
                raise LabError(f"in sync: {sorted(there)}\n{logs}")
            time.sleep(0.5)

    @classmethod
    def agent(cls, host):
        """State of a host's agent, or nothing."""
        result = cls.lab.exec(host, [QMASQ, "agent", "-o", "json"])
        return json.loads(result.out) if result.code == 0 else {}

    def show(self, host, unit, field):
        """A property of a unit."""
        return self.lab.check(host, ["systemctl", "show", "-P", field, UNITS[unit]]).strip()

    def pid(self, host, unit):
        """Main process of a unit that runs."""
        self.assertEqual(self.show(host, unit, "ActiveState"), "active", self.journal(host, unit))
        return int(self.show(host, unit, "MainPID"))

    def journal(self, host, unit):
        """What a unit said."""
        return self.lab.exec(host, ["journalctl", "--no-pager", "-n", "40", "-u", UNITS[unit]]).out

    def expect_pingpong(self):
        """Real programs in both VPCs at once."""
        for outcome in self.tenants.run_pair(PROGRAMS[0], ["blue", "red"]):
            self.assertTrue(outcome.passed, f"{outcome.vpc}: {outcome.proof}")
            print(f"{outcome.program} in {outcome.vpc}: {outcome.proof}", flush=True)

    # One lab, in this order: each goes on where the one before ended.

    def test_1_systemd_runs_what_was_installed(self):
        self.assertEqual(self.lab.check("hostA", ["ps", "-o", "comm=", "-p", "1"]).strip(), "systemd")
        for host, unit in (("hostA", "controller"), ("hostA", "vbond"), ("hostB", "vbond"), ("hostB", "keeper")):
            pid = self.pid(host, unit)
            path = self.lab.check(host, ["readlink", f"/proc/{pid}/exe"]).strip()
            self.assertEqual(path, f"/usr/bin/qmasq-{unit}")
        owner = self.lab.check("hostA", ["stat", "-c", "%U %a", "/var/lib/qmasq"]).split()
        self.assertEqual(owner, ["qmasq-controller", "700"])
        user = self.lab.check("hostA", ["ps", "-o", "user:32=", "-p", str(self.pid("hostA", "controller"))]).strip()
        self.assertEqual(user, "qmasq-controller")

    def test_2_units_have_the_rights_that_they_name_and_no_others(self):
        for unit, wanted in (("controller", set()), ("keeper", set()), ("vbond", None)):
            pid = self.pid("hostA", unit)
            status = self.lab.check("hostA", ["cat", f"/proc/{pid}/status"])
            effective = re.search(r"CapEff:\s*(\w+)", status).group(1)
            found = {number for number in range(64) if int(effective, 16) >> number & 1}
            if wanted is None:
                text = (REPO / "packaging/systemd/qmasq-vbond.service").read_text()
                names = re.search(r"^CapabilityBoundingSet=(.+)$", text, re.M).group(1).split()
                wanted = {capability(name) for name in names}
            self.assertEqual(found, wanted, unit)
            self.assertIn("NoNewPrivs:\t1", status)
            self.assertIn("Seccomp:\t2", status)
        # They are enough for everything.
        agent = self.agent("hostA")
        self.assertEqual((agent["guard"], agent["keeper"]), ("on", "on"), self.journal("hostA", "vbond"))
        self.assertIn("sealed_arguments", agent["features"], self.journal("hostA", "vbond"))

    def test_3_the_demo(self):
        for vpc in ("blue", "red"):
            self.tenants.create_vpc(vpc)
        self.expect_pingpong()
        # The same address is somebody else's in each, and nobody's peer in the other.
        self.tenants.create_endpoint("red/c", "hostB", "10.0.0.3")
        refused = self.tenants.run("blue/a", ["ibv_rc_pingpong", "-d", "rxe0", "-g", "1", "10.0.0.3"], timeout=60)
        self.assertNotEqual(refused.code, 0)

    def test_4_the_keeper_outlives_the_agent_and_its_own_restart(self):
        keeper = self.pid("hostA", "keeper")
        agent = self.pid("hostA", "vbond")
        self.lab.check("hostA", ["systemctl", "restart", UNITS["vbond"]], timeout=SLOW_SECONDS)
        self.assertNotEqual(self.pid("hostA", "vbond"), agent)
        self.assertEqual(self.pid("hostA", "keeper"), keeper)
        self.lab.check("hostA", ["kill", "-9", str(self.pid("hostA", "vbond"))])
        self.await_in_sync()
        self.assertEqual(self.pid("hostA", "keeper"), keeper)
        self.expect_pingpong()

    def test_5_upgrade_replaces_the_agent_and_not_the_keeper(self):
        keeper, agent = self.pid("hostB", "keeper"), self.pid("hostB", "vbond")
        package = next(PACKAGES.glob("qmasq-vbond_*.deb"))
        said = self.lab.check("hostB", ["dpkg", "--force-unsafe-io", "-i", package], timeout=SLOW_SECONDS)
        self.assertIn("Setting up qmasq-vbond", said)
        self.assertEqual(self.pid("hostB", "keeper"), keeper)
        self.assertNotEqual(self.pid("hostB", "vbond"), agent)
        self.assertIn("--underlay-device", self.lab.check("hostB", ["cat", "/etc/qmasq/vbond.conf"]))
        self.await_in_sync()
        self.expect_pingpong()

    def test_6_what_the_keeper_holds_survives_systemctl_restart_and_kill(self):
        # The agent lets go of the keeper first: there is one session at a time.
        self.lab.check("hostB", ["systemctl", "stop", UNITS["vbond"]])
        client = REPO / "tests/lab/keeper_client.py"
        self.lab.check("hostB", ["/usr/bin/python3", "-B", client, "put", "200"])
        for how in (["systemctl", "restart", UNITS["keeper"]], ["systemctl", "kill", "-s", "KILL", UNITS["keeper"]]):
            before = self.pid("hostB", "keeper")
            self.lab.check("hostB", how)
            self.eventually_other_keeper("hostB", before)
            found = json.loads(self.lab.check("hostB", ["/usr/bin/python3", "-B", client, "list"]))
            self.assertEqual(found["tags"], [f"tag {i}" for i in range(200)])
            self.assertEqual(found["contents"], [f"file {i}" for i in range(200)])
        self.lab.check("hostB", ["/usr/bin/python3", "-B", client, "drop"])
        self.lab.check("hostB", ["systemctl", "start", UNITS["vbond"]])
        self.await_in_sync()

    def eventually_other_keeper(self, host, before):
        """Waits until another process is the keeper."""
        until = time.monotonic() + 30
        while self.show(host, "keeper", "MainPID") in ("0", str(before)) or \
                self.show(host, "keeper", "ActiveState") != "active":
            self.assertLess(time.monotonic(), until, self.journal(host, "keeper"))
            time.sleep(0.2)

    def test_7_without_configuration_the_agent_is_not_started(self):
        self.lab.check("hostB", ["systemctl", "stop", UNITS["vbond"]])
        self.lab.check("hostB", ["sed", "-i", "/^QMASQ/d", "/etc/qmasq/vbond.conf"])
        self.lab.check("hostB", ["systemctl", "start", UNITS["vbond"]])
        self.assertEqual(self.show("hostB", "vbond", "ActiveState"), "inactive")
        self.assertEqual(self.show("hostB", "vbond", "Result"), "exec-condition")

    def test_8_removal_leaves_nothing_that_runs(self):
        self.lab.check("hostB", ["dpkg", "-P", "qmasq-vbond"], timeout=SLOW_SECONDS)
        result = self.lab.exec("hostB", ["pgrep", "-fa", "/usr/bin/qmasq-"])
        self.assertEqual(result.code, 1, result.out)
        for path in ("/etc/qmasq/vbond.conf", "/lib/systemd/system/qmasq-vbond.service", "/var/lib/qmasq-vbond"):
            self.assertNotEqual(self.lab.exec("hostB", ["test", "-e", path]).code, 0, path)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
