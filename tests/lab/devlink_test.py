# SPDX-License-Identifier: Apache-2.0
"""The devlink backend on simulated NICs (netdevsim), with iproute2 and the driver as witnesses."""

import json
import unittest

import labtest
from labkit import Lab, kernel, netdevsim
from labkit.paths import BIN

PROGRAM = BIN.parent / "tests" / "qos_devlink_kernel_test"
NUMBER = 12
DEVICE = f"netdevsim/netdevsim{NUMBER}"
DEBUG = f"/sys/kernel/debug/netdevsim/netdevsim{NUMBER}"


class Devlink(unittest.TestCase):
    """Rates as the backend programs them on Linux 6.1. No tenants: no RDMA is simulated."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab.attach(labtest.LAB)
        module = netdevsim.get(kernel.get(print), print)
        netdevsim.load(cls.lab, "hostA", module)

    @classmethod
    def tearDownClass(cls):
        cls.lab.exec("hostA", ["rmmod", "netdevsim"])

    def run_ok(self, *argv):
        """Runs a command on hostA: what it prints."""
        result = self.lab.exec("hostA", list(argv), timeout=300)
        self.assertEqual(result.code, 0, f"{argv}\n{result.out[-4000:]}{result.err[-4000:]}")
        return result.out

    def test_suites(self):
        """What the fake passes, the kernel passes."""
        out = self.run_ok(PROGRAM, "--gtest_brief=1")
        self.assertNotIn("SKIPPED", out)
        self.assertIn("PASSED", out)

    def test_iproute2_and_the_driver_say_the_same(self):
        """Rates are bytes to iproute2 and Mbit/s to the driver."""
        bus = "/sys/bus/netdevsim"
        self.run_ok("bash", "-c", f"echo '{NUMBER} 1' >{bus}/new_device &&"
                    f" echo 4 >{bus}/devices/netdevsim{NUMBER}/sriov_numvfs &&"
                    f" devlink dev eswitch set {DEVICE} mode switchdev")
        try:
            self.run_ok(PROGRAM, "--leave-a-tree", DEVICE)
            shown = json.loads(self.run_ok("devlink", "port", "function", "rate", "show", "-j"))
            self.assertEqual(shown["rate"], {
                f"{DEVICE}/qmasq-vpc-17": {
                    "type": "node", "tx_share": 2_500_000, "tx_max": 12_500_000},
                f"{DEVICE}/128": {
                    "type": "leaf", "tx_share": 1_875_000, "tx_max": 3_750_000,
                    "parent": "qmasq-vpc-17"},
                f"{DEVICE}/129": {
                    "type": "leaf", "tx_max": 5_000_000, "parent": "qmasq-vpc-17"},
                f"{DEVICE}/130": {"type": "leaf"},
                f"{DEVICE}/131": {"type": "leaf"},
            })
            for path, value in {
                "rate_nodes/qmasq-vpc-17/tx_share": "20", "rate_nodes/qmasq-vpc-17/tx_max": "100",
                "ports/128/tx_share": "15", "ports/128/tx_max": "30",
                "ports/128/rate_parent": "qmasq-vpc-17", "ports/129/tx_share": "0",
                "ports/129/tx_max": "40", "ports/130/tx_max": "0",
            }.items():
                self.assertEqual(self.run_ok("cat", f"{DEBUG}/{path}").strip(), value, path)
        finally:
            self.run_ok("bash", "-c", f"echo {NUMBER} >{bus}/del_device")


if __name__ == "__main__":
    labtest.main()
