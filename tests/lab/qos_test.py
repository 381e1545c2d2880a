# SPDX-License-Identifier: Apache-2.0
"""Limits on real RDMA: what tenants get of a NIC, and what is left when they go.

Clients are in .../b on hostB and write to .../a on hostA: it is hostB's egress that is limited.
"""

import json
import re
import signal
import time

import labtest
from labkit import fabric
from labkit.tenants import Program

SECONDS = 60  # of the long runs
WITHIN = 0.10

# Bytes that left the NIC, ten times a second, with the time.
SAMPLE = """
while sleep 0.1; do
  read -r sent </sys/class/net/eth0/statistics/tx_bytes
  printf '%s %s\\n' "$EPOCHREALTIME" "$sent"
done
"""


def write_bw(seconds, *more, port=18515):
    """ib_write_bw for so many seconds; its result is in Gbit/s of payload.

    With the time-out of slow links (-u 20: 4 seconds): Soft-RoCE lets 64 packets of each queue pair wait, which take
    longer at such rates than the 67 ms of perftest's own; then it sends them again, which it does not do well.
    """
    return Program("ib_write_bw", ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "65536", "-p", str(port),
                                   "-u", "20", "-D", str(seconds), "--report_gbits", *more], port,
                   r"^ *65536 +\d+ +[\d.]+ +[\d.]+")


def mbits(outcome):
    """Mbit/s that a run of write_bw reports."""
    return float(outcome.proof.split()[3]) * 1000


class Qos(labtest.LabTest):
    """VPCs blue and red, each with a on hostA and b on hostB."""

    def setUp(self):
        self.tenants.remove_limits()

    @classmethod
    def tearDownClass(cls):
        cls.tenants.remove_limits()
        super().tearDownClass()

    def admin(self, *words):
        """A change that all hosts have when this returns."""
        return self.tenants.must(*words, "--wait")

    def policy(self, name, *words):
        """A new policy."""
        self.tenants.must("qos", "policy", "create", name, *words)

    def assert_rate(self, measured, wanted, within=WITHIN):
        """Mbit/s within a part of what they should be."""
        self.assertGreater(measured, wanted * (1 - within), f"{measured} of {wanted} Mbit/s")
        self.assertLess(measured, wanted * (1 + within), f"{measured} of {wanted} Mbit/s")

    def node(self, name, host="hostB"):
        """A node of a host's tree as `qmasq qos show` has it."""
        shown = self.tenants.json("qos", "show", "--host", host)["hosts"][0]
        for nic in shown["nics"]:
            for node in nic["nodes"]:
                if node.get("name") == name:
                    return node
        self.fail(f"{host} has no node {name}: {json.dumps(shown)[:2000]}")

    def eventually_in_tc(self, host, what, there):
        """Waits until the host's eth0 has a thing in tc, or has it no more."""
        def look():
            return what in self.lab.check(host, ["tc", "qdisc", "show", "dev", "eth0"])
        self.eventually(lambda: look() == there, f"{what} {'in' if there else 'gone from'} tc on {host}")

    # What is promised and what is at most given

    def test_two_tenants_get_what_they_are_allowed(self):
        self.policy("twenty", "--maximum", "20Mbit")
        self.policy("ten", "--maximum", "10Mbit")
        self.admin("qos", "attach", "twenty", "blue")
        self.admin("qos", "attach", "ten", "red")
        outcomes = self.tenants.run_pair(write_bw(SECONDS), self.vpcs, timeout=SECONDS + 60)
        for outcome, wanted in zip(outcomes, (20, 10)):
            self.assertTrue(outcome.passed, outcome.proof)
            print(f"{outcome.vpc}: {mbits(outcome):.2f} Mbit/s of {wanted}")
            self.assert_rate(mbits(outcome), wanted)
        blue = self.node("vpcs/blue")
        self.assertTrue(blue["enforced"], blue)
        self.assertGreater(int(blue["observed"]["bytes"]), 100_000_000)

    def now(self, host):
        """Seconds by the host's clock."""
        return float(self.lab.check(host, ["date", "+%s.%N"]))

    def test_a_cap_changes_under_a_running_program(self):
        self.policy("cap", "--maximum", "10Mbit")
        self.admin("qos", "attach", "cap", "blue")
        sampler = self.lab.spawn("hostB", ["bash", "-c", SAMPLE])
        program = write_bw(40)
        server = self.tenants.spawn("blue/a", program.argv)
        client = None
        try:
            self.tenants.await_listening("blue/a", program.port)
            client = self.tenants.spawn("blue/b", [*program.argv, "10.0.0.1"])
            self.eventually(lambda: self.connected("hostB"), "connected")
            queue_pairs = self.connected("hostB")
            changes = []
            began = None
            for rate in (30, 5, None):
                time.sleep(4)
                began = began or self.now("hostB")
                if rate is None:
                    self.tenants.must("qos", "detach", "blue")
                else:
                    self.tenants.must("qos", "policy", "update", "cap", "--maximum", f"{rate}Mbit")
                changes.append((self.now("hostB"), rate))
            time.sleep(4)
            self.assertEqual(self.connected("hostB"), queue_pairs, "queue pairs were not touched")
            ended = client.wait(60)
            self.assertEqual(ended.code, 0, ended.out + ended.err)
            samples = sampled(sampler)
            self.assert_rate(rate_between(samples, began - 3, began), 10, 0.15)
            for at, rate in changes:
                measured = rate_between(samples, at + 1, at + 3)
                print(f"a second after the change to {rate}: {measured:.2f} Mbit/s")
                if rate is None:
                    self.assertGreater(measured, 35)
                else:
                    self.assert_rate(measured, rate, 0.15)
        finally:
            for running in (sampler, server, client):
                if running is not None and running.running():
                    running.kill()

    def test_endpoints_share_their_vpc_by_weight(self):
        self.tenants.create_endpoint("blue/c", "hostB", "10.0.0.3")
        try:
            self.policy("twenty", "--maximum", "20Mbit")
            self.policy("heavy", "--weight", "30")
            self.policy("light", "--weight", "10")
            self.admin("qos", "attach", "twenty", "blue")
            self.admin("qos", "attach", "heavy", "blue/b")
            self.admin("qos", "attach", "light", "blue/c")
            rates = self.run_two(("blue/b", write_bw(20, port=18515)), ("blue/c", write_bw(20, port=18516)))
            print(f"heavy {rates[0]:.2f}, light {rates[1]:.2f} Mbit/s")
            self.assert_rate(rates[0] + rates[1], 20)
            self.assert_rate(rates[0], 15, 0.15)
            self.assert_rate(rates[1], 5, 0.15)
        finally:
            self.tenants.must("endpoint", "delete", "blue/c", "--force", "--wait")

    def test_a_guarantee_is_kept_against_a_greedy_tenant(self):
        self.admin("host", "update", "hostB", "--nic-rate", "rxe0=30Mbit")
        self.policy("promised", "--guaranteed", "15Mbit")
        self.admin("qos", "attach", "promised", "blue")
        greedy = write_bw(30, "-q", "8", port=18516)
        sampler = self.lab.spawn("hostB", ["bash", "-c", SAMPLE])
        try:
            rates = self.run_two(("blue/b", write_bw(20)), ("red/b", greedy))
            samples = sampled(sampler)
        finally:
            if sampler.running():
                sampler.kill()
        most = max(rate_between(samples, at, at + 5) for at, _ in samples if at + 5 <= samples[-1][0])
        print(f"blue, one queue pair: {rates[0]:.2f}; red, eight: {rates[1]:.2f} Mbit/s; in no 5 seconds more than "
              f"{most:.2f} together")
        self.assertGreaterEqual(rates[0], 14)
        # What may run ahead (512 KiB) is 0.8 Mbit/s of five seconds; setting up goes through the overlay, unshaped.
        self.assertLess(most, 32)

    def test_promises_that_do_not_fit_are_refused(self):
        self.admin("host", "update", "hostB", "--nic-rate", "rxe0=30Mbit")
        self.policy("most", "--guaranteed", "20Mbit")
        self.admin("qos", "attach", "most", "blue")
        refused = self.tenants.qmasq("qos", "attach", "most", "red")
        self.assertEqual(refused.code, 1)
        for word in ("hosts/hostB", "rxe0", "30Mbit", "40Mbit"):
            self.assertIn(word, refused.err)
        forced = self.tenants.qmasq("qos", "attach", "most", "red", "--force", "--wait")
        self.assertEqual(forced.code, 0, forced.err)
        self.assertIn("may get less than promised: blue, red", forced.err)
        # Both get what there is in proportion, and it is said that this is less than was promised.
        self.eventually(lambda: not self.node("vpcs/blue")["enforced"], "said to be unenforced")
        self.assertIn("guarantee", " ".join(self.node("vpcs/blue")["unenforced"]))
        self.eventually(lambda: self.tenants.events("hostB", "--type", "limit-unenforced"), "event")

    def test_packets_carry_the_dscp_of_the_policy(self):
        # Slow ones, so that the packets are few.
        self.policy("marked", "--dscp", "26", "--maximum", "5Mbit")
        self.policy("plain", "--maximum", "5Mbit")
        self.admin("qos", "attach", "marked", "blue")
        self.admin("qos", "attach", "plain", "red")
        capture = self.lab.spawn("hostB", ["tcpdump", "-i", "eth0", "-n", "-l", "-v", "-c", "20000", "--direction",
                                           "out", "udp port 4791"])
        capture.wait_for("listening on", 30)
        outcomes = self.tenants.run_pair(write_bw(3), self.vpcs)
        text = capture.stop(30).out
        for outcome in outcomes:
            self.assertTrue(outcome.passed, outcome.proof)
        # tcpdump leaves an IPv6 traffic class out that is 0.
        classes = re.findall(r" IP6 \((?:class (0x[0-9a-f]+))?", text)
        seen = {each or "0x0" for each in classes}
        self.assertEqual(seen, {"0x68", "0x0"}, text[:2000])  # 26 << 2, and red's

    def test_limits_hold_over_both_families(self):
        self.policy("ten", "--maximum", "10Mbit")
        self.tenants.must("vpc", "create", "six", "--range", "10.0.0.0/24", "--range", "fd00::/64")
        self.tenants.create_endpoint("six/a", "hostA", "10.0.0.1", "fd00::1")
        self.tenants.create_endpoint("six/b", "hostB", "10.0.0.2", "fd00::2")
        try:
            self.admin("qos", "attach", "ten", "six")
            # The later -x counts: the GID of the IPv6 address.
            outcome = self.tenants.run_pair(write_bw(8, "-x", "2"), ["six"])[0]
            self.assertTrue(outcome.passed, outcome.proof)
            self.assertIn("253:00", outcome.client.out)
            self.assert_rate(mbits(outcome), 10, 0.15)
        finally:
            self.tenants.must("endpoint", "delete", "six/a", "--force", "--wait")
            self.tenants.must("endpoint", "delete", "six/b", "--force", "--wait")
            self.tenants.must("vpc", "delete", "six")

    # What is left

    def test_nothing_is_left_in_tc(self):
        self.eventually_in_tc("hostB", "htb 716d:", True)
        before = self.lab.check("hostB", ["tc", "filter", "show", "dev", "eth0"])
        self.lab.stop_daemon("hostB", "vbond", signal.SIGKILL)
        self.eventually_in_tc("hostB", "htb 716d:", True)  # limits outlive the agent
        fabric.start_agent(self.lab, "hostB")
        fabric.wait_in_sync(self.lab)
        self.assertEqual(self.lab.check("hostB", ["tc", "filter", "show", "dev", "eth0"]), before)
        self.policy("ten", "--maximum", "10Mbit")
        self.admin("qos", "attach", "ten", "blue")
        self.eventually(lambda: self.node("vpcs/blue")["enforced"], "enforced after the restart")
        # Endpoints that go while the agent is away.
        self.lab.stop_daemon("hostB", "vbond", signal.SIGKILL)
        for vpc in self.vpcs:
            self.tenants.must("endpoint", "delete", f"{vpc}/b", "--force")
        fabric.start_agent(self.lab, "hostB")
        fabric.wait_in_sync(self.lab)
        self.eventually_in_tc("hostB", "htb", False)
        self.assertEqual(self.lab.check("hostB", ["tc", "filter", "show", "dev", "eth0"]).strip(), "")
        for vpc in self.vpcs:
            self.tenants.create_endpoint(f"{vpc}/b", "hostB", "10.0.0.2")

    def test_a_site_s_own_qdisc_is_left_alone(self):
        for vpc in self.vpcs:
            self.tenants.must("endpoint", "delete", f"{vpc}/b", "--force", "--wait")
        self.eventually_in_tc("hostB", "htb", False)
        self.lab.check("hostB", ["tc", "qdisc", "replace", "dev", "eth0", "root", "handle", "1:", "fq_codel"])
        try:
            self.policy("ten", "--maximum", "10Mbit")
            for vpc in self.vpcs:
                self.tenants.create_endpoint(f"{vpc}/b", "hostB", "10.0.0.2")
            self.admin("qos", "attach", "ten", "blue")
            self.eventually(lambda: self.node("vpcs/blue").get("unenforced"), "said to be unenforced")
            why = " ".join(self.node("vpcs/blue")["unenforced"])
            self.assertIn("fq_codel", why)
            self.assertIn("qdisc fq_codel 1:", self.lab.check("hostB", ["tc", "qdisc", "show", "dev", "eth0"]))
            status = self.tenants.json("endpoint", "get", "blue/b")["status"]["qos"]
            self.assertTrue(status["configured"])
            self.assertFalse(status.get("enforced", False))
            self.assertIn(' 0', "".join(self.lines("hostB", "qmasq_vbond_qos_vpc_limits_enforced")))
        finally:
            self.lab.check("hostB", ["tc", "qdisc", "del", "dev", "eth0", "root"])
        self.eventually(lambda: self.node("vpcs/blue")["enforced"], "enforced once the way is free", 60)

    # How it is measured

    def connected(self, host):
        """Numbers of the queue pairs of a host that have a peer."""
        return sorted(each["qpn"] for each in self.tenants.json("conn", "list", host=host).get("connections", [])
                      if each["state"] in ("rtr", "rts"))

    def lines(self, host, name):
        """A metric's series as they are exposed."""
        text = self.lab.check(host, ["curl", "-s", "http://127.0.0.1:9478/metrics"])
        return re.findall(rf"^{name}(?:{{[^}}]*}})? \S+$", text, re.MULTILINE)

    def run_two(self, *pairs):
        """Two programs at once, each a client endpoint on hostB and a program: Mbit/s of each client.
        Their servers are in a of the same VPC."""
        servers, clients = [], []
        try:
            for endpoint, program in pairs:
                server = endpoint.split("/")[0] + "/a"
                servers.append(self.tenants.spawn(server, program.argv))
                self.tenants.await_listening(server, program.port)
            for endpoint, program in pairs:
                clients.append(self.tenants.spawn(endpoint, [*program.argv, "10.0.0.1"], host="hostB"))
            rates = []
            for (_, program), client in zip(pairs, clients):
                ended = client.wait(120)
                found = re.search(program.proof, ended.out, re.MULTILINE)
                self.assertTrue(found, ended.out + ended.err)
                rates.append(float(found.group(0).split()[3]) * 1000)
            return rates
        finally:
            for running in servers + clients:
                if running.running():
                    running.kill()


def sampled(sampler):
    """Ends a run of SAMPLE: its (time, bytes)."""
    return [tuple(map(float, line.split())) for line in sampler.stop(10).out.splitlines()]


def rate_between(samples, begin, end):
    """Mbit/s that left between two times: from the first samples after each. A host that is busy takes few."""
    t0, b0 = next(sample for sample in samples if sample[0] >= begin)
    t1, b1 = next(sample for sample in samples if sample[0] >= end and sample[0] > t0)
    return (b1 - b0) * 8 / (t1 - t0) / 1e6


if __name__ == "__main__":
    labtest.main()
