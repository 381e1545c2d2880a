# SPDX-License-Identifier: Apache-2.0
"""Killed tenants, a controller that goes and comes back, floods, a NIC that disappears."""

import signal
import time

import labtest
from labkit import fabric
from labkit.tenants import QMASQ


class Faults(labtest.LabTest):
    """What must not break, and what must be said clearly."""

    def test_killed_tenant_leaves_nothing(self):
        for _ in range(5):
            held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                                 "--qpn", "17", "--hold", "60"])
            held.wait_for('"RTR":"0"')
            held.kill()
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 0, "contexts closed")
        self.assertEqual(self.agent("hostA").get("queuePairs", 0), 0)
        left = self.lab.check("hostA", ["rdma", "resource", "show", "qp"])
        self.assertNotIn("type RC", left)

    def test_tenants_killed_in_the_middle_of_verbs(self):
        for delay in (0.0, 0.1, 0.2, 0.4, 0.8):
            flood = self.tenants.spawn("blue/a", [labtest.PROBE, "flood", "--seconds", "20"])
            time.sleep(1.0 + delay)
            flood.kill()
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 0, "contexts closed")
        self.assertTrue(self.lab.daemon_alive("hostA", "vbond"))

    def test_two_floods_do_not_stop_a_third_tenant(self):
        floods = [self.tenants.spawn(f"{vpc}/a", [labtest.PROBE, "flood", "--seconds", "15"])
                  for vpc in self.vpcs]
        try:
            answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17", "--rounds", "5")
            self.assertEqual(answer["RTR"], "0")
            self.assertTrue(all(flood.running() for flood in floods))
        finally:
            for flood in floods:
                flood.kill()

    def test_controller_restarts_while_connections_are_made(self):
        connecting = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                                   "--qpn", "17", "--rounds", "150"])
        self.lab.stop_daemon("hostA", "controller", signal.SIGKILL)
        answer = self.probe("red/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")
        self.assertEqual(answer["RTR"], "0", "known peers are reached without a controller")
        refused = self.tenants.qmasq("vpc", "list")
        self.assertEqual(refused.code, 3)
        self.assertIn("/run/qmasq/controller.sock", refused.err)
        fabric.start_controller(self.lab)
        fabric.wait_in_sync(self.lab)
        result = connecting.wait(120)
        self.assertEqual(result.code, 0, result.out + result.err)
        names = [vpc["name"] for vpc in self.tenants.json("vpc", "list")["vpcs"]]
        self.assertEqual(names, ["vpcs/blue", "vpcs/red"])

    def test_agent_not_running_is_said(self):
        self.lab.stop_daemon("hostB", "vbond")
        try:
            result = self.tenants.qmasq("run", "--endpoint", "blue/b", "--", "true", host="hostB")
            self.assertEqual(result.code, 125)
            self.assertIn("/run/qmasq/attach.sock", result.err)
            self.assertIn("qmasq-vbond", result.err)
            doctor = self.tenants.qmasq("doctor", host="hostB")
            self.assertEqual(doctor.code, 1, doctor.out)
            self.assertRegex(doctor.out, r"(?m)^FAIL .*agent")
        finally:
            fabric.start_agent(self.lab, "hostB")
            fabric.wait_in_sync(self.lab)
        self.assertEqual(self.tenants.run("blue/b", ["true"]).code, 0)

    def test_agent_stops_while_a_program_runs(self):
        held = self.tenants.spawn("red/b", [labtest.PROBE, "connect", "--gid", "10.0.0.1",
                                            "--qpn", "17", "--hold", "60"])
        held.wait_for('"RTR":"0"')
        try:
            self.lab.stop_daemon("hostB", "vbond", signal.SIGKILL)
            fabric.start_agent(self.lab, "hostB")
            fabric.wait_in_sync(self.lab)
            self.assertEqual(self.probe("red/b", "connect", "--gid", "10.0.0.1", "--qpn", "17")["RTR"], "0")
        finally:
            held.kill()

    def test_doctor_finds_nothing_wrong(self):
        for host in ("hostA", "hostB"):
            doctor = self.tenants.qmasq("doctor", host=host)
            self.assertEqual(doctor.code, 0, doctor.out + doctor.err)
            self.assertRegex(doctor.out, r"doctor: \d+ ok, \d+ warnings?, 0 failed")

    def test_second_listener_is_explained(self):
        result = self.tenants.run("blue/a", [QMASQ, "run", "--endpoint", "blue/a", "--", "true"])
        self.assertEqual(result.code, 125)
        self.assertRegex(result.err, "already|capabilit|permitted|root")

    def test_unknown_and_foreign_names(self):
        for words, mark in (
                (("run", "--endpoint", "blue/nobody", "--", "true"), "nobody"),
                (("run", "--endpoint", "nowhere/a", "--", "true"), "nowhere"),
                (("run", "--endpoint", "blue/b", "--", "true"), "hostB"),
                (("endpoint", "get", "blue/nobody"), "nobody"),
                (("endpoint", "delete", "blue/nobody"), "nobody"),
                (("endpoint", "create", "nowhere/x", "--host", "hostA"), "nowhere"),
                (("endpoint", "create", "blue/x", "--host", "hostZ"), "hostZ"),
                (("vpc", "get", "nowhere"), "nowhere"),
                (("vpc", "delete", "blue"), "blue"),
                (("conn", "list", "--endpoint", "blue/nobody"), "nobody"),
                (("events", "--endpoint", "nowhere/a"), "nowhere"),
                (("conn", "list", "--endpoint", "blue/b"), "hostB")):
            with self.subTest(words=" ".join(words)):
                result = self.tenants.qmasq(*words)
                self.assertNotEqual(result.code, 0)
                self.assertIn(mark, result.err)

    def test_exit_code_and_signal_pass_through(self):
        self.assertEqual(self.tenants.run("blue/a", ["sh", "-c", "exit 37"]).code, 37)
        self.assertEqual(self.tenants.run("blue/a", ["sh", "-c", "kill -TERM $$"]).code, 143)
        self.assertEqual(self.tenants.run("blue/a", ["/no/such/program"]).code, 127)

    def test_nic_disappears_and_comes_back(self):
        """The kernel cannot take rxe away from open contexts: it waits for them to close."""
        held = self.tenants.spawn("blue/b", [labtest.PROBE, "connect", "--gid", "10.0.0.1",
                                             "--qpn", "17", "--hold", "120"])
        held.wait_for('"RTR":"0"')
        removal = self.lab.spawn("hostB", ["rdma", "link", "delete", "rxe0"])
        try:
            time.sleep(2)
            self.assertTrue(self.lab.daemon_alive("hostB", "vbond"))
            self.assertTrue(self.agent("hostB")["inSync"])
            held.kill()
            self.assertEqual(removal.wait(60).code, 0)
            self.eventually(
                lambda: any(event["type"] == "nic-lost" for event in self.tenants.events("hostB")),
                "event nic-lost")
            result = self.tenants.run("blue/b", ["true"])
            self.assertEqual(result.code, 125)
            self.assertIn("NIC", result.err)
        finally:
            held.kill()
            removal.wait(60)
            self.lab.check("hostB", ["rdma", "link", "add", "rxe0", "type", "rxe", "netdev", "eth0"])
        self.eventually(lambda: any(nic.get("primaryGid") for nic in self.agent("hostB").get("nics", [])),
                        "the NIC is found again")
        self.eventually(lambda: self.probe("blue/b", "connect", "--gid", "10.0.0.1", "--qpn", "17")
                        .get("RTR") == "0", "connections are made again")


if __name__ == "__main__":
    labtest.main()
