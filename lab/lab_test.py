#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The lab itself: boots, plain RDMA between hosts without qmasq, faults, nothing left behind."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
import unittest
from pathlib import Path
from unittest import mock

from labkit import Lab, LabError, checkup
from labkit.boot import boot
from labkit.paths import LABS, REPO


def alive(pid):
    """Whether a process runs."""
    return pid is not None and Path(f"/proc/{pid}").exists()


def pids(lab):
    """Pids of all processes of a lab."""
    return [lab.wire.pid(), *(host.process.pid() for host in lab.hosts)]


class TwoHosts(unittest.TestCase):
    """What needs two hosts that are well."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab("selftest", hosts=2, qmasq=False)
        cls.lab.__enter__()

    @classmethod
    def tearDownClass(cls):
        held = pids(cls.lab)
        cls.lab.__exit__()
        assert not any(alive(pid) for pid in held) and not cls.lab.folder.exists()

    def pair(self, *argv):
        """A server of a perftest or ibv_*_pingpong on hostA, its client on hostB: both outputs."""
        server = self.lab.spawn("hostA", argv)
        until = time.monotonic() + 20
        # Not by its output: most of these programs say nothing until a client is there.
        while not self.lab.check("hostA", ["ss", "-Htln", "sport = :18515"]).strip():
            self.assertLess(time.monotonic(), until, "the server does not listen")
        client = self.lab.exec("hostB", [*argv, "192.168.77.10"], timeout=60)
        self.assertEqual(client.code, 0, client)
        return server.wait(20).out, client.out

    def test_gids(self):
        text = self.lab.check("hostB", ["ibv_devinfo", "-v", "-d", "rxe0"])
        for wanted in ("::ffff:192.168.77.11, RoCE v2", "fd77::11, RoCE v2", "active_mtu:\t\t4096"):
            self.assertIn(wanted, text)

    def test_rc_pingpong(self):
        for out in self.pair("ibv_rc_pingpong", "-d", "rxe0", "-g", "1", "-n", "100"):
            self.assertIn("100 iters in", out)

    def test_write_goes_over_the_wire(self):
        capture = self.lab.spawn(
            "hostA", ["tcpdump", "-lni", "eth0", "-c", "5", "src 192.168.77.11 and udp port 4791"])
        capture.wait_for("listening on eth0")
        _, out = self.pair("ib_write_bw", "-d", "rxe0", "-x", "1", "-s", "4096", "-n", "200")
        self.assertRegex(out, r"4096 +200 ")
        self.assertIn("192.168.77.10.4791: UDP", capture.wait(20).out)

    def test_hosts_have_what_qmasq_needs(self):
        modules = ["bridge", "vxlan", "veth", "sch_htb", "cls_flower", "8021q", "rdma_ucm"]
        self.lab.check("hostA", ["modprobe", "-a", *modules])
        self.lab.check("hostA", ["test", "-c", "/dev/infiniband/uverbs0"])
        controllers = self.lab.check("hostA", ["cat", "/sys/fs/cgroup/cgroup.subtree_control"])
        self.assertIn("rdma", controllers)

    def test_the_machine_is_out_of_reach(self):
        path = REPO / "written-by-a-host"
        result = self.lab.exec("hostA", ["touch", path])
        self.assertNotEqual(result.code, 0)
        self.lab.check("hostA", ["touch", "/usr/bin/written-by-a-host"])
        self.assertFalse(Path("/usr/bin/written-by-a-host").exists())

    def test_daemon(self):
        self.lab.daemon("hostA", "beat", ["sh", "-c", "while :; do echo beat; sleep 0.1; done"])
        self.assertTrue(self.lab.daemon_alive("hostA", "beat"))
        log = self.lab.host("hostA").folder / "beat.log"
        until = time.monotonic() + 10
        while log.read_text().count("beat") < 3:
            self.assertLess(time.monotonic(), until, "its log does not grow on the machine")
            time.sleep(0.05)
        self.lab.stop_daemon("hostA", "beat")
        self.assertFalse(self.lab.daemon_alive("hostA", "beat"))

    def test_timeout_ends_the_command(self):
        with self.assertRaisesRegex(LabError, "no end after 1 s"):
            self.lab.exec("hostA", ["sleep", "4711"], timeout=1)
        until = time.monotonic() + 10
        while self.lab.exec("hostA", ["pgrep", "-f", "sleep 4711"]).code == 0:
            self.assertLess(time.monotonic(), until, "it still runs")

    def test_second_up_is_refused(self):
        with self.assertRaisesRegex(LabError, "is running"):
            Lab("selftest", qmasq=False).up()

    def test_power_cut_and_return(self):
        self.lab.check("hostB", ["touch", "/root/before"])
        self.lab.kill_host("hostB")
        with self.assertRaises(LabError):
            self.lab.exec("hostB", ["true"])
        self.lab.start_host("hostB")
        self.assertNotEqual(self.lab.exec("hostB", ["test", "-e", "/root/before"]).code, 0)
        self.lab.check("hostA", ["ping", "-c", "1", "-W", "5", "192.168.77.11"])

    def test_another_lab_beside_it(self):
        with Lab("selftest-two", hosts=1, qmasq=False) as other:
            other.check("hostA", ["touch", "/root/mine"])
            self.assertNotEqual(self.lab.exec("hostA", ["test", "-e", "/root/mine"]).code, 0)
            # Same addresses, another wire: there is no hostB on it.
            ping = ["ping", "-c", "1", "-W", "1", "192.168.77.11"]
            self.assertNotEqual(other.exec("hostA", ping).code, 0)
            self.lab.check("hostA", ["ping", "-c", "1", "-W", "5", "192.168.77.11"])


class Faults(unittest.TestCase):
    """What must not leave anything behind."""

    def test_host_that_cannot_boot(self):
        begun = time.monotonic()
        lab = Lab("selftest-bad", hosts=1, qmasq=False, mtu=7)
        with self.assertRaisesRegex(LabError, "(?s)died while booting.*cannot set the addresses"):
            lab.up()
        self.assertLess(time.monotonic() - begun, 60)
        self.assertFalse(lab.alive())
        self.assertTrue(lab.down())

    def test_host_that_hangs_while_booting(self):
        class Hangs(Lab):
            """Its host freezes as often as it is told to."""

            def __init__(self, times):
                self.said = []
                self.left = times
                super().__init__("selftest-hung", hosts=1, qmasq=False, say=self.said.append)

            def _launch(self, host):
                super()._launch(host)
                if self.left > 0:
                    self.left -= 1
                    host.pause()

        with mock.patch("labkit.lab.boot", functools.partial(boot, seconds=(1, 120))):
            with Hangs(1) as lab:
                lab.check("hostA", ["true"])
                self.assertRegex("\n".join(lab.said), r"(?s)did not boot in 1 s\nhostA: runs no commands.*on again")
        with mock.patch("labkit.lab.boot", functools.partial(boot, seconds=(1, 1))):
            with self.assertRaisesRegex(LabError, "hostA did not boot in 1 s"), Hangs(2) as lab:
                pass
            self.assertFalse(lab.alive())
            self.assertTrue(lab.down())

    def test_dead_starter_takes_its_lab_along(self):
        script = textwrap.dedent("""
            import time
            from labkit import Lab
            with Lab("selftest-gone", hosts=1, qmasq=False) as lab:
                print("up", flush=True)
                time.sleep(600)
        """)
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as starter:
            self.assertEqual(starter.stdout.readline(), b"up\n")
            lab = Lab.attach("selftest-gone")
            held = pids(lab)
            self.assertTrue(all(alive(pid) for pid in held))
            starter.kill()
        until = time.monotonic() + 10
        while lab.alive():
            self.assertLess(time.monotonic(), until, "it outlived its starter")
            time.sleep(0.05)
        self.assertTrue(lab.down())
        self.assertFalse((LABS / "selftest-gone").exists())

    def test_checkup_of_a_host_that_hangs(self):
        with Lab("selftest-stuck", hosts=1, qmasq=False) as lab:
            self.assertEqual(checkup.look(lab), checkup.Checkup(True, False, ""))
            # Its process 1 runs all commands. The kernel lives on, and tells who is blocked.
            freeze = "mkdir /sys/fs/cgroup/ice; cd /sys/fs/cgroup/ice; echo 1 >cgroup.procs; echo 1 >cgroup.freeze"
            lab.check("hostA", ["bash", "-ec", freeze])
            with mock.patch("labkit.checkup._ANSWER_SECONDS", 2):
                found = checkup.look(lab)
            self.assertEqual((found.well, found.machine), (False, True))
            self.assertRegex(found.text, r"hostA: runs no commands. processor 0 at [0-9a-f]{16}.*VM status: running")
            self.assertRegex(found.text, r"(?s)sysrq: Show Blocked State.*sysrq: Show Memory.*Mem-Info")

    def test_down_cleans_a_half_dead_lab(self):
        lab = Lab("selftest-half", hosts=2, qmasq=False)
        lab.up()
        try:
            held = pids(lab)
            os.kill(held[1], signal.SIGKILL)
            status = subprocess.run(
                [sys.executable, "lab/lab.py", "status", "--name", "selftest-half"],
                cwd=REPO, capture_output=True, text=True, check=False)
            self.assertEqual(status.returncode, 1)
            self.assertRegex(status.stdout, "hostA .* dead")
            self.assertRegex(status.stdout, "hostB .* up")
            found = checkup.look(lab)
            self.assertEqual((found.well, found.machine), (False, True))
            self.assertRegex(found.text, "^hostA: QEMU has ended")
            self.assertNotIn("hostB", found.text)
            # A kernel that says that it is at fault itself is not the machine's fault.
            with contextlib.suppress(LabError):
                lab.exec("hostB", ["bash", "-c", "echo c >/proc/sysrq-trigger"], timeout=10)
            found = checkup.look(lab)
            self.assertEqual((found.well, found.machine), (False, False))
            self.assertRegex(found.text, "(?s)hostB: QEMU has ended.*Kernel panic")
            with self.assertRaisesRegex(LabError, "is running"):
                lab.up()
        finally:
            self.assertTrue(lab.down())
        self.assertFalse(any(alive(pid) for pid in held))
        self.assertFalse(lab.folder.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
