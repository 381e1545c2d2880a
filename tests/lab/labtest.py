# SPDX-License-Identifier: Apache-2.0
"""What every lab test shares: the running lab, tenants of its own, and nothing left behind.

The lab is brought up once for all tests, by ctest's fixture (tests/lab/CMakeLists.txt). By hand:

    ./x lab up --name test && python3 tests/lab/isolation_test.py
"""

import ipaddress
import json
import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))
# pylint: disable=wrong-import-position
import aftermath
from labkit import Lab
from labkit.tenants import PROBE, Tenants, two_sided

LAB = os.environ.get("QMASQ_TEST_LAB", "test")


class LabTest(unittest.TestCase):
    """VPCs blue and red, both with a at 10.0.0.1 on hostA and b at 10.0.0.2 on hostB."""

    vpcs = ("blue", "red")

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab.attach(LAB)
        cls.tenants = Tenants(cls.lab)
        cls.tenants.remove_all()
        cls.tenants.create_vpcs([two_sided(vpc) for vpc in cls.vpcs])

    @classmethod
    def tearDownClass(cls):
        cls.tenants.remove_all()

    def probe(self, endpoint, *words, timeout=60):
        """Runs the probe program in an endpoint: its JSON answer."""
        result = self.tenants.run(endpoint, [PROBE, *words], timeout=timeout)
        try:
            return json.loads(result.out.splitlines()[-1])
        except (ValueError, IndexError):
            self.fail(f"probe {words}: exit {result.code}\n{result.out}{result.err}")

    def eventually(self, condition, what, timeout=20):
        """Waits until a condition holds."""
        until = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > until:
                self.fail(f"not after {timeout} s: {what}")
            time.sleep(0.2)

    def agent(self, host):
        """State of a host's agent."""
        return self.tenants.json("agent", host=host)

    def gid_index(self, host, address):
        """Where the NIC of a host has the GID of an address, as the kernel counts."""
        wanted = ipaddress.ip_address(address)
        table = self.lab.check(host, ["bash", "-c", "grep -H . /sys/class/infiniband/rxe0/ports/1/gids/*"])
        for line in table.splitlines():
            path, text = line.split(":", 1)
            gid = ipaddress.IPv6Address(text)
            if wanted in (gid, gid.ipv4_mapped):
                return path.rsplit("/", 1)[1]
        return self.fail(f"no GID of {address} on {host}\n{table}")

    def refusals(self, host, endpoint):
        """Events of refused verbs of an endpoint."""
        return self.tenants.events(host, "--endpoint", endpoint, "--type", "refused")


def main():
    """Runs the tests of the calling file, and looks at the lab when one fails (aftermath.py)."""
    sys.exit(aftermath.run(LAB))
