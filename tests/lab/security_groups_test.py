# SPDX-License-Identifier: Apache-2.0
"""Security groups on real RDMA: who is admitted, what the peer may do, and connections that are cut."""

import re
import time

import labtest
from labkit.tenants import PROGRAMS, Program

WRITE_BW = PROGRAMS[3]
EXIT_DENIED = 5  # of `qmasq trace`


def perftest(name, *more):
    """A perftest program over the virtual GID of that index."""
    return Program(name, [name, "-d", "rxe0", "-F", "-s", "4096", *more], 18515,
                   r"^ *4096 +\d+ +[\d.]+")


READ_BW = perftest("ib_read_bw", "-x", "1", "-n", "200")
SHORT_WRITE_BW = perftest("ib_write_bw", "-x", "1", "-n", "200")
WRITE_BW_V6 = perftest("ib_write_bw", "-x", "2", "-n", "200")


class SecurityGroups(labtest.LabTest):
    """Endpoints blue/a (10.0.0.1) and blue/b (10.0.0.2), and what rules make of them."""

    vpcs = ()

    def setUp(self):
        self.tenants.remove_all()
        self.tenants.must("vpc", "create", "blue", "--range", "10.0.0.0/24", "--range", "fd00::/64")
        for endpoint, host, four, six in (("blue/a", "hostA", "10.0.0.1", "fd00::1"),
                                          ("blue/b", "hostB", "10.0.0.2", "fd00::2")):
            self.tenants.create_endpoint(endpoint, host, four, six)

    def admin(self, *words):
        """A change that all hosts have when this returns."""
        return self.tenants.must(*words, "--wait")

    def trace(self, *words):
        """Verdict of `qmasq trace --live` from b to a: True if allowed. The agents must say the same."""
        result = self.tenants.qmasq("trace", "--from", "blue/b", "--to", "blue/a", "--live", *words)
        self.assertIn(result.code, (0, EXIT_DENIED), result.err)
        lives = re.findall(r"^Live +(\S+): (allowed|refused) at revision \d+(.*)", result.out, re.MULTILINE)
        self.assertEqual(len(lives), 2, result.out)
        for _, _, disagreement in lives:
            self.assertEqual(disagreement, "", result.out)
        return result.code == 0

    def run_pair(self, program):
        """The program with its server in blue/a and its client in blue/b."""
        return self.tenants.run_pair(program, ["blue"])[0]

    def assert_runs(self, program):
        """It runs, and trace said so."""
        self.assertTrue(self.trace())
        outcome = self.run_pair(program)
        self.assertTrue(outcome.passed, outcome.proof)

    def assert_refused(self, *reasons):
        """Connecting from either side gives EACCES with an event that tells why, as trace says."""
        self.assertFalse(self.trace())
        for endpoint, host, peer in (("blue/b", "hostB", "10.0.0.1"), ("blue/a", "hostA", "10.0.0.2")):
            answer = self.probe(endpoint, "connect", "--gid", peer, "--qpn", "17")
            self.assertEqual(answer["RTR"], "EACCES", answer)
            event = self.refusals(host, endpoint)[-1]
            self.assertEqual(event["errnoName"], "EACCES")
            for reason in reasons:
                self.assertIn(reason, event["reason"])

    def test_default_group_admits_its_members_and_nobody_else(self):
        self.assert_runs(SHORT_WRITE_BW)
        self.admin("sg", "create", "blue/web")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        self.assert_refused("vpcs/blue/endpoints/a does not admit vpcs/blue/endpoints/b",
                            "no rule matches: default deny in")
        # A real program, not only the probe.
        self.assertFalse(self.run_pair(SHORT_WRITE_BW).passed)
        # The rule that the documentation shows makes the same command work.
        self.admin("sg", "rule", "add", "web", "--vpc", "blue", "--in", "--from", "sg:default")
        self.assert_runs(SHORT_WRITE_BW)

    def test_rule_that_denies_is_named_with_its_side(self):
        self.admin("sg", "create", "blue/web")
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "any")
        self.admin("endpoint", "update", "blue/a", "--group", "web,default")
        self.assert_runs(SHORT_WRITE_BW)
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "10.0.0.2", "--deny",
                   "--priority", "2000", "--id", "keep-out")
        self.admin("sg", "rule", "add", "blue/web", "--out", "--to", "sg:default", "--deny",
                   "--priority", "2000", "--id", "stay-in")
        self.assert_refused("web/keep-out: in deny 2000 any from 10.0.0.2/32",
                            "web/stay-in: out deny 2000 any to sg:default")

    def test_removing_a_rule_ends_a_running_program_on_both_sides(self):
        self.admin("sg", "create", "blue/web")
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "sg:default", "--id", "open")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        # Both ways, so that both sides wait for completions.
        long = perftest("ib_write_bw", "-x", "1", "-b", "-D", "60")
        server = self.tenants.spawn("blue/a", long.argv)
        client = None
        try:
            self.tenants.await_listening("blue/a", long.port)
            client = self.tenants.spawn("blue/b", [*long.argv, "10.0.0.1"])
            self.eventually(lambda: self.connected("hostA") and self.connected("hostB"), "connected")
            time.sleep(2)
            self.assertTrue(client.running())
            before = self.tenants.qmasq("sg", "rule", "remove", "blue/web", "open", "--validate-only")
            self.assertIn("Would cut 2 queue pairs", before.out)
            self.assertTrue(self.connected("hostA"))
            removed = time.monotonic()
            self.tenants.must("sg", "rule", "remove", "blue/web", "open")
            self.eventually(lambda: self.cuts("hostA") and self.cuts("hostB"), "cut on both hosts", 5)
            ends = [running.wait(20) for running in (client, server)]
            took = time.monotonic() - removed
            for ended in ends:
                self.assertNotEqual(ended.code, 0)
                self.assertRegex(ended.out + ended.err, r"(?i)completion with error")
            for host, endpoint, peer in (("hostA", "blue/a", "b"), ("hostB", "blue/b", "a")):
                event = self.cuts(host)[-1]
                self.assertTrue(event["endpoint"].endswith(endpoint[-1]))
                self.assertIn("rule web/open", event["reason"])
                self.assertTrue(event["connection"]["peerEndpoint"].endswith("endpoints/" + peer))
                self.assertLess(self.cut_seconds(host), 1.0)
            print(f"from the removal to the end of both programs, seen from outside: {took:.2f} s")
            self.assertFalse(self.trace())
        finally:
            for running in (server, client):
                if running is not None and running.running():
                    running.kill()

    def test_operations_narrow_what_the_peer_may_do(self):
        self.admin("sg", "create", "blue/store")
        # Both ways: a's own opening by default would give the peer all.
        self.admin("sg", "rule", "add", "blue/store", "--in", "--from", "sg:default", "--transport", "rc",
                   "--ops", "send,read")
        self.admin("sg", "rule", "add", "blue/store", "--out", "--to", "any", "--deny")
        self.admin("endpoint", "update", "blue/a", "--group", "store")
        self.assertTrue(self.trace("--op", "read"))
        self.assertFalse(self.trace("--op", "write"))
        read = self.run_pair(READ_BW)
        self.assertTrue(read.passed, read.proof)
        write = self.run_pair(SHORT_WRITE_BW)
        self.assertFalse(write.passed)
        print(write.proof)
        # rxe answers a write that the queue pair does not permit with "remote invalid request" (9).
        self.assertRegex(write.proof + str(write.client), r"Failed status 9")

    def test_shadow_rule_counts_and_lets_pass(self):
        self.admin("sg", "rule", "add", "blue/default", "--in", "--from", "any", "--deny", "--priority",
                   "5000", "--shadow", "--id", "later")
        self.assert_runs(SHORT_WRITE_BW)
        events = self.tenants.events("hostA", "--type", "shadow-hit", "--endpoint", "blue/a")
        self.assertTrue(events)
        self.assertIn("default/later", events[-1]["reason"])
        self.assertGreaterEqual(self.metric("hostA", "qmasq_vbond_conntrack_shadow_hits_total"), 1)

    def test_ranges_of_both_families(self):
        self.admin("sg", "create", "blue/web")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "10.0.0.0/30", "--id", "four")
        self.assert_runs(SHORT_WRITE_BW)
        self.assertFalse(self.trace("--from-address", "fd00::2"))
        self.assertFalse(self.run_pair(WRITE_BW_V6).passed)
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "fd00::2", "--id", "six")
        self.assertTrue(self.trace("--from-address", "fd00::2"))
        outcome = self.run_pair(WRITE_BW_V6)
        self.assertTrue(outcome.passed, outcome.proof)

    def test_rule_that_logs_and_conn_list_tell_the_rule(self):
        self.admin("sg", "create", "blue/web")
        self.admin("sg", "rule", "add", "blue/web", "--in", "--from", "sg:default", "--ops", "send,read",
                   "--log", "--id", "seen")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--qpn", "17",
                                             "--hold", "60"])
        try:
            held.wait_for('"RTR":"0"')
            connection = self.tenants.json("conn", "list")["connections"][0]
            self.assertIn("web/seen", connection["rule"])
            self.assertEqual(connection["operations"], ["send", "read"])
            admitted = self.tenants.events("hostA", "--type", "admitted", "--endpoint", "blue/a")
            self.assertIn("web/seen", admitted[-1]["reason"])
        finally:
            held.kill()

    def test_group_in_use_stays(self):
        self.admin("sg", "create", "blue/web")
        self.admin("endpoint", "update", "blue/a", "--group", "web")
        result = self.tenants.qmasq("sg", "delete", "blue/web")
        self.assertEqual(result.code, 1)
        self.assertIn("vpcs/blue/endpoints/a", result.err)
        result = self.tenants.qmasq("sg", "delete", "blue/default")
        self.assertEqual(result.code, 1)
        self.assertIn("goes with its VPC", result.err)

    # What a host tells

    def connected(self, host):
        """Its queue pairs that have a peer."""
        return [each for each in self.tenants.json("conn", "list", host=host).get("connections", [])
                if each["state"] in ("rtr", "rts")]

    def cuts(self, host):
        """Events of queue pairs that were cut in this test."""
        return [event for event in self.tenants.events(host, "--type", "cut")
                if "rule web/open" in event["reason"]]

    def metric(self, host, name):
        """Sum of a metric over its labels."""
        text = self.lab.check(host, ["curl", "-s", "http://127.0.0.1:9478/metrics"])
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in values)

    def cut_seconds(self, host):
        """Mean time from a change's arrival to the queue pair in the error state."""
        count = self.metric(host, "qmasq_vbond_conntrack_cut_seconds_count")
        return self.metric(host, "qmasq_vbond_conntrack_cut_seconds_sum") / count


if __name__ == "__main__":
    labtest.main()
