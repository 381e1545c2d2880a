# SPDX-License-Identifier: Apache-2.0
"""Verbs that no tenant may do: other addresses, other types, back doors, others' objects, after a cut."""

import json
import re

from attacktest import ATTACK, AttackTest, Victim, main, report
from labkit.tenants import QMASQ
import labtest
from policytest import PolicyTest

# What a tenant may do, and what only sets the stage.
PERMITTED = {"device", "connected", "SQD", "RESET", "RESET again", "up again"}
# What Soft-RoCE or a kernel without the hardware refuses natively, so that no run shows it at work: types of
# queue pairs, XRC, flow steering, DEVX and drivers' methods, alternate paths and shapes that no kernel takes.
NO_CONTROL = {
    "RTR to a physical address from sgid_index 0", "RTR from sgid_index 2", "RTR from sgid_index 3",
    "RTR from sgid_index 4", "RTR from sgid_index 255", "RTR without a global route", "RTS without RTR",
    "RTS with a new address", "RTS from SQD with a new address", "alternate path",
    "alternate path and the path as it is", "RTR with an alternate path", "QP type SMI", "QP type GSI",
    "QP type raw packet", "QP type XRC initiator", "QP type XRC target", "QP type driver", "OPEN_QP of another",
    "XRC domain by a file", "multicast", "flow steering", "work queue", "DEVX other command", "DEVX object",
    "DEVX object modify", "DEVX memory", "mlx5 flow matcher", "DEVX by the device's own driver id",
    "driver's method on a QP", "driver's method on the device", "unknown object", "flow action", "device memory",
    "counters"}


class Verbs(AttackTest):
    """Each verb in the form that the kernel takes it, natively and in an endpoint."""

    def test_none_is_done(self):
        control = self.native("verbs", *self.physical(), "--qpn", "4242",
                              "--peer-gid", self.lab.host("hostB").ipv4, "--peer-qpn", "17")
        worked = {case for case, answer in control.items() if answer == "done"} - PERMITTED
        self.assertEqual(set(control) - worked - PERMITTED - NO_CONTROL,
                         {"handles of QPs that are not its own", "handles of CQs that are not its own"}, control)
        answers = self.tenant("blue/a", "verbs", *self.physical(), "--qpn", "4242",
                              "--peer-gid", "10.0.0.2", "--peer-qpn", "17")
        self.assertEqual(set(answers), set(control))
        self.assertEqual(answers["connected"], "done", "the permitted peer is reached")
        successes = {case for case, answer in answers.items() if answer in ("done",) or
                     (isinstance(answer, int) and answer > 0)} - PERMITTED
        report("verbs that no tenant may do", len(answers) - len(PERMITTED), len(successes), len(worked))
        self.assertEqual(successes, set(), answers)
        events = self.refusals("hostA", "blue/a")
        self.assertTrue(any("no endpoint of" in event["reason"] for event in events))
        self.assert_healthy()

    def test_sgid_index_of_another_endpoint(self):
        """Natively every index of the NIC is anybody's; in an endpoint each index is its own address."""
        six = ["--gid", self.lab.host("hostB").ipv6, "--gid-index", "2"]
        peer = ["--peer-gid", self.lab.host("hostB").ipv6, "--peer-gid-index", "2", "--peer-qpn", "17"]
        control = self.native("verbs", *six, *peer, "--qpn", "4242")
        self.assertEqual(control["RTR from sgid_index 2"], "done", control)
        answers = self.tenant("blue/a", "verbs", *six, "--qpn", "4242", "--peer-gid", "10.0.0.2")
        found = [case for case, answer in answers.items() if "sgid_index" in case and answer == "done"]
        report("sgid_index of another", 5, len(found), int(control["RTR from sgid_index 2"] == "done"))
        self.assertEqual(found, [])


class Objects(AttackTest):
    """Another tenant's descriptor, and keys of another tenant's memory."""

    def test_descriptor_of_another_tenant(self):
        """Handed over willingly: the agent serves a context to the endpoint that opened it alone."""
        path = "/tmp/attack-socket"
        answers = {}
        for kind, sender, receiver in (
                ("control", [], []),
                ("tenant", [QMASQ, "run", "--endpoint", "red/a", "--"], [QMASQ, "run", "--endpoint", "blue/a", "--"])):
            running = self.lab.spawn("hostA", [*sender, ATTACK, "send", "--path", path, "--seconds", "60"])
            try:
                running.wait_for('"fd"')
                result = self.lab.exec("hostA", [*receiver, ATTACK, "receive", "--path", path, *self.physical(),
                                                 "--qpn", "4242"])
                answers[kind] = self.answer(result, [kind])
            finally:
                running.kill()
        for kind in answers:
            self.assertEqual(answers[kind]["received"], "0", answers)
        worked = [verb for verb, answer in answers["control"].items() if answer == "done"]
        successes = [verb for verb, answer in answers["tenant"].items() if answer == "done"]
        report("a descriptor of another tenant", 3, len(successes), len(worked))
        self.assertEqual(set(worked), {"QUERY_QP", "MODIFY_QP"}, answers)
        self.assertEqual(successes, [], answers)

    def test_keys_of_another_tenants_memory(self):
        """Over a permitted connection to the very host where that memory is."""
        victim = Victim(self)
        helper = self.tenants.spawn("blue/b", [ATTACK, "victim", "--peer-gid", "10.0.0.1", "--seconds", "120"])
        try:
            own = re.search(r'"qpn":(\d+)', helper.wait_for(r'^\{"qpn".*$').group(0)).group(1)
            words = ["write", "--gid", "10.0.0.2", *victim.words, "--peer-gid", "10.0.0.2", "--peer-qpn"]
            answer = self.tenant("blue/a", *words, own)
            self.assertEqual((answer["RTR"], answer["RTS"]), ("0", "0"), answer)
            successes = int(victim.changed(2))
            self.assertEqual((answer["write"], successes), ("failed", 0))
            # The same write by the tenant whose memory it is.
            # (Its answer goes to a number that nobody has, so the program cannot tell.)
            self.tenant("red/a", *words, str(victim.qpn))
            report("a key of another tenant's memory", 1, successes, int(victim.changed(5)))
            self.assertTrue(victim.changed(5))
        finally:
            victim.end()
            helper.kill()



class Numbers(AttackTest):
    """The peer's address is permitted, the number is that of another tenant's queue pair on the same host."""

    def write_by(self, vpc, victim):
        """Whether a write from the VPC's endpoint changed the victim's memory, and what the program says."""
        answer = self.tenant(f"{vpc}/a", "write", "--gid", "10.0.0.2", *victim.words, "--peer-gid", "10.0.0.2",
                             "--peer-qpn", str(victim.qpn))
        return victim.changed(2), answer

    def test_number_of_another_tenants_queue_pair(self):
        control = self.control()
        victim = Victim(self)
        try:
            changed, answer = self.write_by("blue", victim)
            self.assertEqual((answer["RTR"], answer["RTS"], answer["write"]), ("0", "0", "failed"), answer)
            # The same by the tenant to whom the victim is connected.
            own, _ = self.write_by("red", victim)
        finally:
            packets = victim.end()
        report("the number of another tenant's queue pair", 1, int(changed), int(control))
        self.assertFalse(changed)
        self.assertTrue(own, "the number and the key were right")
        self.assertTrue(control)
        sources = {packet.source for packet in packets}
        self.assertEqual(sources, {self.tenants.vpc_gids(vpc)["hostA"] for vpc in self.vpcs}, "both have arrived")

    def control(self):
        """All VPCs send from the hosts' own GIDs: RoCE v2 tells hosts apart, not tenants."""
        hosts = [host.name for host in self.lab.hosts]
        try:
            for host in hosts:
                self.restart_agent(host, "--vpc-gids", "off")
            victim = Victim(self)
            try:
                return self.write_by("blue", victim)[0]
            finally:
                victim.end()
        finally:
            for host in hosts:
                self.restart_agent(host)


class AfterACut(PolicyTest):
    """A connection that the rules forbid by now: back to RESET and up again."""

    def test_up_again(self):
        self.admin("sg", "create", "blue/web")
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "sg:default", "--id", "open")
        self.admin("sg", "rule", "add", "blue/web", "--out", "--to", "any", "--deny")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        # While the rule stands, the same steps lead to a connection again.
        result = self.tenants.run("blue/a", [ATTACK, "verbs", "--gid", "192.0.2.1", "--qpn", "17", "--peer-gid",
                                             "10.0.0.2", "--peer-qpn", "4242"])
        control = json.loads(result.out.splitlines()[-1])
        self.assertEqual(control["up again"], "done", control)
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--qpn", "4242",
                                             "--insist", "--hold", "60"])
        try:
            held.wait_for('"RTR":"0"')
            self.admin("sg", "rule", "remove", "blue/web", "open")
            steps = json.loads(held.wait_for(r'^\{"cut".*$').group(0))
            listed = self.lab.check("hostA", ["rdma", "resource", "show", "qp"])
            connected = re.findall(r"rqpn 4242 .*state RT[RS]", listed)
        finally:
            held.kill()
        report("RESET and up again after a cut", 1, len(connected) + int(steps["RTR"] == "0"),
               int(control["up again"] == "done"))
        self.assertEqual((steps["RESET"], steps["INIT"], steps["RTR"]), ("0", "0", "EACCES"))
        self.assertEqual(connected, [])


if __name__ == "__main__":
    main()
