# SPDX-License-Identifier: Apache-2.0
"""Programs that break out by changing a verb while the kernel reads it: what the guard makes of them."""

import contextlib
import json
import signal

import labtest
from labkit import fabric
from labkit.tenants import PROGRAMS

ROUNDS = 4000
# The guard is what is left where arguments are not sealed.
UNSEALED = ("--seal", "off")
PINS = "/sys/fs/bpf/qmasq"


class Guard(labtest.LabTest):
    """The race of docs/adr/0018, with the guard off and on."""

    def setUp(self):
        # Of the other host, as the wire has it: what no tenant may ever name.
        self.physical = self.lab.hosts[1].ipv4
        self.index = self.gid_index("hostA", self.lab.hosts[0].ipv4)

    @contextlib.contextmanager
    def agent_with(self, *options):
        """The agent of hostA with other options, and as it was after that."""
        self.lab.stop_daemon("hostA", "vbond")
        try:
            fabric.start_agent(self.lab, "hostA", *UNSEALED, *options)
            fabric.wait_in_sync(self.lab, 240)
            yield
        finally:
            self.lab.stop_daemon("hostA", "vbond")
            fabric.start_agent(self.lab, "hostA")
            fabric.wait_in_sync(self.lab, 240)

    def breakout(self, how, *more, endpoint="blue/a"):
        """Runs the probe's attempt to its end: exit code, and its last word."""
        result = self.tenants.run(
            endpoint, [labtest.PROBE, how, "--gid", self.physical, "--gid-index", self.index, *more],
            timeout=240)
        lines = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
        self.assertTrue(lines, result.out + result.err)
        return result.code, lines[-1]

    def ready_to_receive(self):
        """Queue pairs of programs on hostA that have got past INIT."""
        shown = self.lab.check("hostA", ["rdma", "resource", "show", "qp"])
        return [line for line in shown.splitlines()
                if " type RC " in line and (" state RTR" in line or " state RTS" in line)]

    def violations(self):
        """Events of the guard on hostA."""
        return self.tenants.events("hostA", "--type", "guard-violation")

    def test_guard_is_on_and_seen_everywhere(self):
        self.assertEqual(self.agent("hostA")["guard"], "on")
        for host in self.tenants.json("host", "list")["hosts"]:
            self.assertEqual(host["status"]["guard"], "on", host["name"])
        told = self.tenants.qmasq("doctor").out
        self.assertRegex(told, r"(?m)^OK +agent +guard +on")
        self.assertRegex(told, r"(?m)^OK +agent +arguments +sealed")
        self.assertRegex(told, r"(?m)^OK +agent +keeper +on")

    def test_off_the_race_is_won(self):
        with self.agent_with("--guard", "off"):
            self.assertEqual(self.agent("hostA")["guard"], "off")
            self.assertRegex(self.tenants.qmasq("doctor").out, r"(?m)^WARN +agent +arguments +not sealed")
            code, last = self.breakout("race", "--rounds", str(ROUNDS))
            self.assertEqual(code, 0)
            self.assertTrue(last["hit"], last)
            # It has a peer that nobody checked; to send to it, it would need the agent.
            self.assertEqual(last["RTS"], "EINVAL", last)

    def test_on_the_cheater_dies(self):
        with self.agent_with():
            self.cheat()

    def cheat(self):
        before = len(self.violations())
        held = self.tenants.spawn("red/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--qpn",
                                            "17", "--hold", "120"])
        try:
            held.wait_for('"RTR":"0"')
            code, last = self.breakout("race", "--rounds", str(ROUNDS), "--hold", "60")
            self.assertEqual(last, {"ready": True}, "it has not come to say anything more")
            self.assertEqual(code, 128 + signal.SIGKILL)
            self.eventually(lambda: len(self.violations()) > before, "the event is there")
            event = self.violations()[-1]
            self.assertIn("MODIFY_QP", event["reason"])
            self.assertEqual(event["endpoint"], "vpcs/blue/endpoints/a")
            self.eventually(lambda: len(self.ready_to_receive()) == 1,
                            "the other tenant's queue pair alone is left")
            self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 1, "its context is closed")
            self.assertTrue(held.running(), "the other tenant goes on")
        finally:
            held.kill()
        self.assertEqual(self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")["RTR"], "0")

    def test_sealed_the_race_is_never_won(self):
        self.assertIn("sealed_arguments", self.agent("hostA")["features"])
        before = len(self.violations())
        _, last = self.breakout("race", "--rounds", str(ROUNDS))
        self.assertFalse(last["hit"], last)
        self.assertEqual(len(self.violations()), before, "the guard was not needed")

    def test_unmodified_programs_notice_nothing(self):
        before = len(self.violations())
        for program in PROGRAMS:
            if program.name not in ("ibv_rc_pingpong", "ib_write_bw"):
                continue
            for outcome in self.tenants.run_pair(program, self.vpcs):
                self.assertTrue(outcome.passed, f"{outcome.program} {outcome.vpc}: {outcome.proof}")
        self.assertEqual(len(self.violations()), before)

    def test_stays_attached_while_there_is_no_agent(self):
        def links():
            shown = json.loads(self.lab.check("hostA", ["bpftool", "-j", "link", "show"]))
            return {link["id"] for link in shown if link.get("type") == "tracing"}
        attached = links()
        self.assertGreaterEqual(len(attached), 8)
        self.lab.stop_daemon("hostA", "vbond", signal.SIGKILL)
        try:
            self.assertEqual(links(), attached)
            self.assertIn("qmasq_method", self.lab.check("hostA", ["ls", PINS]))
        finally:
            fabric.start_agent(self.lab, "hostA")
            fabric.wait_in_sync(self.lab, 240)
        self.assertEqual(links(), attached, "the same programs, not others")
        self.assertEqual(self.agent("hostA")["guard"], "on")
        with self.agent_with():
            _, last = self.breakout("race", "--rounds", str(ROUNDS))
            self.assertEqual(last, {"ready": True})

    def test_write_on_a_device_that_tenants_open(self):
        with self.agent_with("--open", "rxe0=tenant"):
            answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")
            self.assertEqual(answer["RTR"], "0", "it works as it should")
            before = len(self.violations())
            code, last = self.breakout("legacy")
            self.assertEqual(last, {"ready": True})
            self.assertEqual(code, 128 + signal.SIGKILL)
            self.eventually(lambda: len(self.violations()) > before, "the event is there")
            self.assertEqual(self.ready_to_receive(), [])
        with self.agent_with("--open", "rxe0=tenant", "--guard", "off"):
            _, last = self.breakout("legacy")
            self.assertEqual(last["RTR"], "0", "without the guard it goes through")


if __name__ == "__main__":
    labtest.main()
