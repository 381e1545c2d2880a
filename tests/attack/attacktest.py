# SPDX-License-Identifier: Apache-2.0
"""What the tests of attacks share: a victim, agents with and without a defence, and the outside view.

By hand, against a lab that runs (see tests/lab/labtest.py):

    QMASQ_TEST_LAB=mine python3 tests/attack/race_test.py
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
# pylint: disable=wrong-import-position
import labtest
from labkit import fabric
from labkit.paths import BIN

ATTACK = BIN / "qmasq-lab-attack"

# Tried races, all kinds together.
ROUNDS = int(os.environ.get("QMASQ_ATTACK_ROUNDS", "200"))

# Index of a host's own IPv4 GID, as the NIC counts (lab/README.md).
NIC_INDEX = "1"


def report(attack, rounds, successes, control):
    """One line for the reader. What must hold is asserted by the caller. `control`: a number of successes, or where
    they are told, or why there can be none."""
    told = control if isinstance(control, str) else f"{control} successes"
    print(f"attack: {attack}: {rounds} rounds, {successes} successes, control: {told}", flush=True)


def report_control(attack, rounds, successes):
    """The same with the defence off."""
    print(f"attack: control: {attack}: {rounds} rounds, {successes} successes", flush=True)


class AttackTest(labtest.LabTest):
    """The attacker is blue/a on hostA; red/b on hostB, of another tenant, is the victim."""

    def native(self, *words, host="hostA", timeout=120):
        """The attack as root, without qmasq: its JSON answer."""
        return self.answer(self.lab.exec(host, [ATTACK, *words], timeout=timeout), words)

    def tenant(self, endpoint, *words, timeout=120):
        """The attack in an endpoint: its JSON answer."""
        return self.answer(self.tenants.run(endpoint, [ATTACK, *words], timeout=timeout), words)

    def answer(self, result, words):
        """Last line of output as a value."""
        try:
            return json.loads(result.out.splitlines()[-1])
        except (ValueError, IndexError):
            return self.fail(f"attack {words}: exit {result.code}\n{result.out}{result.err}")

    def physical(self, host="hostB"):
        """Words that name a host as the NIC knows it."""
        return ["--gid", self.lab.host(host).ipv4, "--gid-index", NIC_INDEX]

    def of_vpc(self, vpc, host="hostB"):
        """Words that name a VPC on a host as the NIC knows it."""
        gids = self.tenants.vpc_gids(vpc)
        return ["--gid", gids[host], "--gid-index", self.gid_index("hostA", gids["hostA"])]

    def queue_pairs(self, host="hostA"):
        """What the kernel says of all queue pairs, a line each."""
        return self.lab.check(host, ["rdma", "resource", "show", "qp"]).splitlines()

    def restart_agent(self, host, *options):
        """Another agent with other options; attachments of the old one are gone."""
        if self.lab.daemon_alive(host, "vbond"):
            self.lab.stop_daemon(host, "vbond")
        fabric.start_agent(self.lab, host, *options)
        fabric.wait_in_sync(self.lab)

    def assert_healthy(self):
        """Agents live and serve; nothing is left of the attacker."""
        for host in self.lab.hosts:
            self.assertTrue(self.lab.daemon_alive(host.name, "vbond"), self.lab.log_tail(host.name, "vbond"))
        answer = self.probe("red/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")
        self.assertEqual(answer["RTR"], "0", "another tenant still connects")


class Victim:
    """A queue pair of red/b, connected to red/a's address, with memory that keys would open."""

    def __init__(self, test, seconds=600):
        self._running = test.tenants.spawn(
            "red/b", [ATTACK, "victim", "--peer-gid", "10.0.0.1", "--seconds", str(seconds)])
        line = self._running.wait_for(r'^\{"qpn".*$').group(0)
        found = json.loads(line)
        self.qpn = found["qpn"]
        self.words = ["--qpn", str(found["qpn"]), "--rkey", str(found["rkey"]),
                      "--address", str(found["address"])]
        # Requests that reach it: from the NIC of hostA, for its number.
        self._capture = test.tenants.capture(
            "hostB", "udp dst port 4791 and "
            f"(udp[12:4] & 0xffffff == {self.qpn} or (ip6 and ip6[52:4] & 0xffffff == {self.qpn}))")

    def changed(self, patience=1.0):
        """Whether its memory was written."""
        until = time.monotonic() + patience
        while '"changed"' not in self._running.out and time.monotonic() < until:
            time.sleep(0.1)
        return '"changed"' in self._running.out

    def end(self):
        """Packets that came for it while it lived."""
        packets = self._capture.stop()
        self._running.kill()
        return packets


class Witness:
    """What the NIC's driver is told to do, as the kernel's tracing sees it: queue pairs that become ready to receive.

    Nothing of qmasq is in between: a kprobe where Soft-RoCE takes the attributes over, after all checks.
    """

    ROOT = "/sys/kernel/tracing"
    # Of struct ib_qp_attr (include/rdma/ib_verbs.h): qp_state comes first, dest_qp_num after seven words.
    PROBE = "p:attack/rtr rdma_rxe:rxe_qp_from_attr state=+0(%si):u32 peer=+28(%si):u32"
    READY_TO_RECEIVE = 2

    def __init__(self, test, host="hostA"):
        self._lab = test.lab
        self._host = host
        self._do(f"""
            mountpoint -q {self.ROOT} || mount -t tracefs tracefs {self.ROOT}
            echo '{self.PROBE}' >> {self.ROOT}/kprobe_events
            echo 'state == {self.READY_TO_RECEIVE}' > {self.ROOT}/events/attack/rtr/filter
            : > {self.ROOT}/trace
            echo 1 > {self.ROOT}/events/attack/rtr/enable""")

    def count(self, peer_qpn):
        """How often a queue pair was made ready to receive from that number."""
        text = self._do(f"cat {self.ROOT}/trace")
        return sum(1 for line in text.splitlines() if line.endswith(f" peer={peer_qpn}"))

    def end(self):
        """Takes the probe away."""
        self._do(f"""
            echo 0 > {self.ROOT}/events/attack/rtr/enable
            echo '-:attack/rtr' >> {self.ROOT}/kprobe_events""")

    def _do(self, script):
        return self._lab.check(self._host, ["bash", "-ec", script])


def main():
    """Runs the tests of the calling file."""
    labtest.main()
