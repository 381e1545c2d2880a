# SPDX-License-Identifier: Apache-2.0
"""Security groups on real RDMA: who is admitted, what the peer may do, and connections that are cut."""

import datetime
import re
import time

import labtest
from labkit.tenants import PROGRAMS, Program

WRITE_BW = PROGRAMS[3]
EXIT_DENIED = 5  # of `qmasq trace`


def perftest(name, *more, size=4096):
    """A perftest program over the virtual GID of that index."""
    return Program(name, [name, "-d", "rxe0", "-F", "-s", str(size), *more], 18515,
                   rf"^ *{size} +\d+ +[\d.]+")


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
            self.assertIn("Would cut 2 queue pairs", before.out)
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

    def test_datagrams_take_rules_that_name_them(self):
        program = perftest("ib_send_bw", "-x", "1", "-c", "UD", "-n", "200", size=1024)
        self.assertFalse(self.trace("--transport", "ud"))
        refused = self.run_pair(program)
        self.assertFalse(refused.passed)
        self.assertIn("could ever admit ud", self.refusals("hostA", "blue/a")[-1]["reason"])
        for rule in (("--in", "--from"), ("--out", "--to")):
            words = self.tenants.qmasq("sg", "rule", "add", "blue/default", *rule, "sg:default", "--transport",
                                       "ud", "--id", "ud" + rule[0][1:], "--wait")
            self.assertEqual(words.code, 0, words.err)
            self.assertIn("good will", words.err)
        self.assertTrue(self.trace("--transport", "ud"))
        outcome = self.run_pair(program)
        self.assertTrue(outcome.passed, outcome.proof)
        # Only to whom the rules name, and by virtual addresses.
        for address, answer in (("10.0.0.2", "0"), ("10.0.0.77", "EHOSTUNREACH"),
                                (self.underlay("hostB"), "EHOSTUNREACH")):
            steps = self.probe("blue/a", "connect", "--gid", address, "--type", "ud")
            self.assertEqual(steps["CREATE_AH"], answer, steps)
        self.tenants.must("sg", "create", "blue/web")
        self.admin("endpoint", "update", "blue/b", "--group", "web")
        self.assertFalse(self.trace("--transport", "ud"))
        self.assertEqual(self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--type", "ud")["CREATE_AH"],
                         "EACCES")

    def test_removing_the_rules_ends_running_datagrams(self):
        for rule in (("--in", "--from"), ("--out", "--to")):
            self.admin("sg", "rule", "add", "blue/default", *rule, "any", "--transport", "ud", "--id",
                       "ud" + rule[0][1:])
        long = perftest("ib_send_bw", "-x", "1", "-c", "UD", "-b", "-D", "60", size=1024)
        server = self.tenants.spawn("blue/a", long.argv)
        client = None
        try:
            self.tenants.await_listening("blue/a", long.port)
            client = self.tenants.spawn("blue/b", [*long.argv, "10.0.0.1"])

            def address_handles(host):
                listed = self.tenants.json("conn", "list", host=host).get("connections", [])
                return [each for each in listed if each["transport"] == "ud" and each.get("peerEndpoint")]

            self.eventually(lambda: address_handles("hostA") and address_handles("hostB"), "addressed")
            self.assertIn("default/ud-", address_handles("hostA")[0]["rule"])
            time.sleep(2)
            self.assertTrue(client.running())
            # The address goes; whoever sends to it has its queue pair ended by the NIC.
            self.admin("sg", "rule", "remove", "blue/default", "ud-in")
            for running in (client, server):
                ended = running.wait(20)
                self.assertNotEqual(ended.code, 0)
                self.assertRegex(ended.out + ended.err, r"(?i)completion with error")
            for host in ("hostA", "hostB"):
                self.assertIn("was: ", self.tenants.events(host, "--type", "cut")[-1]["reason"])
            self.assertFalse(self.trace("--transport", "ud"))
        finally:
            for running in (server, client):
                if running is not None and running.running():
                    running.kill()

    def test_without_rules_for_datagrams_their_queue_pairs_end(self):
        self.admin("sg", "rule", "add", "blue/default", "--in", "--from", "any", "--transport", "ud", "--id", "ud")
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--type", "ud",
                                             "--qpn", "17", "--hold", "60"])
        try:
            # Its own rules admit nobody to send to; it may receive.
            held.wait_for('"CREATE_AH":"EACCES"')
        finally:
            held.kill()
        self.admin("sg", "rule", "add", "blue/default", "--out", "--to", "any", "--transport", "ud", "--id", "out")
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--type", "ud",
                                             "--hold", "60"])
        try:
            held.wait_for('"CREATE_AH":"0"')
            self.admin("sg", "rule", "remove", "blue/default", "ud")
            self.admin("sg", "rule", "remove", "blue/default", "out")

            def last_cut():
                return self.tenants.events("hostA", "--type", "cut")[-1]["reason"]

            self.eventually(lambda: "admits ud any more" in last_cut(), "cut", 5)
            states = [each["state"] for each in self.tenants.json("conn", "list")["connections"]]
            self.assertEqual(states, ["error"])
        finally:
            held.kill()

    # What a host tells

    def underlay(self, host):
        """Its address outside of every VPC."""
        nics = self.tenants.json("host", "get", host)["nics"]
        return nics[0]["primaryGid"]

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
