# SPDX-License-Identifier: Apache-2.0
"""Security groups on real RDMA: who is admitted, what the peer may do, and connections that are cut."""

import datetime
import re
import signal
import time

import labtest
from policytest import EXIT_DENIED, PolicyTest, perftest

READ_BW = perftest("ib_read_bw", "-x", "1", "-n", "200")
SHORT_WRITE_BW = perftest("ib_write_bw", "-x", "1", "-n", "200")
WRITE_BW_V6 = perftest("ib_write_bw", "-x", "2", "-n", "200")

# Runs a command and puts the time before each line of its output.
WITH_TIMES = """
"$@" 2>&1 | while IFS= read -r line; do printf '%s %s\\n' "$EPOCHREALTIME" "$line"; done
exit "${PIPESTATUS[0]}"
"""


def seconds(time_text):
    """Of a time as the programs write it ("2026-01-31T12:00:00.123456789Z")."""
    whole, _, fraction = time_text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float("0." + (fraction or "0"))


class SecurityGroups(PolicyTest):
    """Connections: RC."""

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
        long = long._replace(argv=["bash", "-c", WITH_TIMES, "bash", *long.argv])
        server = self.tenants.spawn("blue/a", long.argv)
        client = None
        try:
            self.tenants.await_listening("blue/a", long.port)
            client = self.tenants.spawn("blue/b", [*long.argv, "10.0.0.1"])
            self.eventually(lambda: self.connected("hostA") and self.connected("hostB"), "connected")
            time.sleep(2)
            self.assertTrue(client.running())
            before = self.tenants.qmasq("sg", "rule", "remove", "blue/web", "open", "--validate-only")
            self.assertIn("Would cut 2 connections", before.out)
            self.assertTrue(self.connected("hostA"))
            ahead = self.clock_ahead("hostB")
            self.tenants.must("sg", "rule", "remove", "blue/web", "open")
            # The group's time is the controller's, which is on hostA.
            committed = seconds(self.tenants.json("sg", "get", "blue/web")["updateTime"])
            for host, running, endpoint, peer, skew in (("hostA", server, "blue/a", "b", 0),
                                                        ("hostB", client, "blue/b", "a", ahead)):
                ended = running.wait(20)
                self.assertNotEqual(ended.code, 0)
                self.assertRegex(ended.out + ended.err, r"(?i)completion with error")
                event = self.cuts(host)[-1]
                self.assertTrue(event["endpoint"].endswith(endpoint[-1]))
                self.assertIn("rule web/open", event["reason"])
                self.assertTrue(event["connection"]["peerEndpoint"].endswith("endpoints/" + peer))
                cut = seconds(event["time"]) - committed - skew
                failed = re.search(r"^(\S+) .*Completion with error", ended.out, re.MULTILINE)
                told = float(failed.group(1)) - committed - skew
                print(f"{host}: {cut * 1000:.0f} ms from the commit to the cut, {told * 1000:.0f} ms to the "
                      "program's word of it")
                self.assertLess(cut, 1.0)
                self.assertLess(told, 1.0)
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

    def test_a_program_that_does_not_obey_gets_nothing_by_it(self):
        self.admin("sg", "create", "blue/store")
        self.admin("sg", "rule", "add", "blue/store", "--in", "--from", "sg:default", "--ops", "send,read",
                   "--id", "reading")
        self.admin("sg", "rule", "add", "blue/store", "--out", "--to", "any", "--deny")
        self.admin("endpoint", "update", "blue/a", "--group", "store")
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--qpn", "17",
                                             "--insist", "--hold", "60"])
        try:
            # Asks for all access flags after RTR, and has what the rules permit.
            held.wait_for('"WIDEN":"0","remote_read":true,"remote_write":false')
            self.admin("sg", "rule", "remove", "blue/store", "reading")
            # Takes the queue pair that was cut through RESET and INIT to the same peer.
            held.wait_for('"cut":true,"RESET":"0","INIT":"0","RTR":"EACCES"')
        finally:
            held.kill()

    def test_an_agent_that_missed_changes_catches_up(self):
        held = [self.tenants.spawn(endpoint, [labtest.PROBE, "connect", "--gid", peer, "--qpn", "17",
                                              "--hold", "90"])
                for endpoint, peer in (("blue/a", "10.0.0.2"), ("blue/b", "10.0.0.1"))]
        try:
            for each in held:
                each.wait_for('"RTR":"0"')
            self.lab.signal_daemon("hostB", "vbond", signal.SIGSTOP)
            self.tenants.must("sg", "create", "blue/web")
            self.tenants.must("endpoint", "update", "blue/a", "--group", "web")
            self.tenants.must("sg", "rule", "add", "blue/web", "--in", "--from", "fd00::/64")
            # Each host by itself: the one that hears it cuts its side.
            self.eventually(lambda: self.tenants.events("hostA", "--type", "cut"), "cut on hostA", 10)
            live = self.tenants.qmasq("trace", "--from", "blue/b", "--to", "blue/a", "--live")
            self.assertEqual(live.code, EXIT_DENIED)
            self.assertRegex(live.out, r"(?m)^Live +hostB: (no answer in time|its agent is not connected)")
            self.lab.signal_daemon("hostB", "vbond", signal.SIGCONT)
            self.eventually(lambda: self.tenants.events("hostB", "--type", "cut"), "cut on hostB", 30)
            self.assertEqual([each["state"] for each in self.tenants.json("conn", "list", host="hostB")["connections"]],
                             ["error"])
            self.assertFalse(self.trace())
        finally:
            self.lab.signal_daemon("hostB", "vbond", signal.SIGCONT)
            for each in held:
                each.kill()

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

    def clock_ahead(self, host):
        """Seconds by which its clock is ahead of hostA's, as far as reading them in turn can tell."""

        def read():
            first, other, last = (float(self.lab.check(each, ["date", "+%s.%N"]))
                                  for each in ("hostA", host, "hostA"))
            return last - first, other - (first + last) / 2

        return min(read() for _ in range(5))[1]

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


if __name__ == "__main__":
    labtest.main()
