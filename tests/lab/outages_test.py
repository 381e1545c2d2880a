# SPDX-License-Identifier: Apache-2.0
"""What goes away and comes back: the controller, the network, the right time."""

import os
import random
import signal
import time

import labtest
from labkit import fabric
from labkit.tenants import PROGRAMS, QMASQ

# How often the controller is killed, and how long it is out of reach, seconds.
KILLS = int(os.environ.get("QMASQ_KILLS", "6"))
OUTAGE = int(os.environ.get("QMASQ_OUTAGE_SECONDS", "18"))
DAY = 86400

# Changes without an end: what a controller that dies is busy with.
CHURN = f"""
for ((i = 0; ; i++)); do
  {QMASQ} endpoint update blue/a --description "round $i"
  {QMASQ} sg create "blue/churn-$i" --description "round $i"
  {QMASQ} sg delete "blue/churn-$((i - 1))"
done
"""


class Outages(labtest.LabTest):
    """VPCs blue and red; the controller is on hostA."""

    def connect(self, endpoint="blue/b", peer="10.0.0.1", *more):
        """What RTR towards the peer comes to."""
        answer = self.probe(endpoint, "connect", "--gid", peer, "--qpn", "17", *more)
        return answer.get("RTR", answer)

    def hold(self, endpoint="blue/b", peer="10.0.0.1", seconds=120):
        """A program that keeps a connected QP."""
        held = self.tenants.spawn(endpoint, [labtest.PROBE, "connect", "--gid", peer, "--qpn", "17",
                                             "--hold", str(seconds)])
        held.wait_for('"RTR":"0"')
        return held

    def state_of(self, host):
        """What the controller thinks of a host."""
        for each in self.tenants.json("host", "list").get("hosts", []):
            if each["name"] == "hosts/" + host:
                return each.get("status", {}).get("state")
        return None

    def connections(self, host, endpoint):
        """Connections of an endpoint, as its host's agent lists them."""
        return self.tenants.json("conn", "list", "--endpoint", endpoint, host=host).get("connections", [])

    def streams(self, host):
        """Streams that the agent has opened since it started."""
        text = self.lab.check(host, ["curl", "-s", "http://127.0.0.1:9478/metrics"])
        for line in text.splitlines():
            if line.startswith('qmasq_vbond_sync_streams_total{result="opened"}'):
                return int(float(line.split()[-1]))
        self.fail(f"no count of streams:\n{text}")
        return None

    # --- the controller ---

    def test_host_that_cannot_reach_the_controller(self):
        """What it knows goes on; what changed meanwhile is there soon after."""
        # Both ways: what the controller still sends must not arrive, either.
        rules = {"hostB": ["pref", "10", "ipproto", "tcp", "dport", "7443", "blackhole"],
                 "hostA": ["pref", "10", "to", self.lab.host("hostB").ipv4, "ipproto", "tcp", "sport", "7443",
                           "blackhole"]}
        try:
            for host, rule in rules.items():
                self.lab.check(host, ["ip", "rule", "add", *rule])
            begun = time.monotonic()
            self.assertEqual(self.connect(), "0", "a known peer needs no controller")
            self.tenants.must("endpoint", "create", "blue/c", "--host", "hostA", "--address", "10.0.0.3")
            self.assertEqual(self.connect(peer="10.0.0.3"), "EHOSTUNREACH", "not heard of yet")
            self.eventually(lambda: self.state_of("hostB") == "OFFLINE", "hostB is seen to be away", 60)
            rollout = self.tenants.qmasq("endpoint", "update", "blue/c", "--description", "x", "--wait",
                                         "--timeout", "2s")
            self.assertNotEqual(rollout.code, 0)
            self.assertIn("hostB", rollout.out + rollout.err)
            time.sleep(max(0.0, OUTAGE - (time.monotonic() - begun)))
            self.assertEqual(self.connect(), "0", "after the whole outage, too")
            self.assertEqual(self.connect("red/b"), "0")
        finally:
            for host, rule in rules.items():
                self.lab.exec(host, ["ip", "rule", "delete", *rule])
        try:
            fabric.wait_in_sync(self.lab)
            self.assertEqual(self.connect(peer="10.0.0.3"), "0", "what changed meanwhile has arrived")
            self.assertTrue(self.lab.daemon_alive("hostB", "vbond"))
        finally:
            self.tenants.must("endpoint", "delete", "blue/c", "--wait")

    def test_controller_that_hangs(self):
        """Stopped, not dead: its sockets are open and nothing answers."""
        self.lab.signal_daemon("hostA", "controller", signal.SIGSTOP)
        try:
            self.assertEqual(self.connect(), "0")
            refused = self.tenants.qmasq("--timeout", "2s", "vpc", "list")
            self.assertEqual(refused.code, 3, refused.out + refused.err)
            self.assertTrue(self.lab.daemon_alive("hostB", "vbond"))
        finally:
            self.lab.signal_daemon("hostA", "controller", signal.SIGCONT)
        fabric.wait_in_sync(self.lab)
        self.assertEqual(self.connect(), "0")

    def test_controller_killed_again_and_again(self):
        """Under changes, with a connection that stands: both agents come to the same each time."""
        held = self.hold(seconds=600)
        chance = random.Random(1)
        churn = self.lab.spawn("hostA", ["bash", "-c", CHURN])
        try:
            for _ in range(KILLS):
                time.sleep(0.2 + chance.random())
                self.lab.stop_daemon("hostA", "controller", signal.SIGKILL)
                fabric.start_controller(self.lab)
            churn.kill()
        except Exception:
            churn.kill()
            raise
        finally:
            fabric.wait_in_sync(self.lab)
        self.assertTrue(held.running())
        self.assertEqual(len(self.connections("hostB", "blue/b")), 1, "nothing was cut")
        self.assertGreater(self.streams("hostB"), 1)
        # In step to the end: a change that cuts reaches it, and one that opens again, too.
        self.tenants.must("sg", "rule", "add", "blue/default", "--in", "--from", "any", "--deny",
                          "--priority", "5000", "--id", "shut", "--wait")
        self.assertEqual(self.connect(), "EACCES")
        self.eventually(lambda: any(event["type"] == "cut" for event in self.tenants.events(
            "hostB", "--endpoint", "blue/b")), "the connection is cut")
        held.kill()
        self.tenants.must("sg", "rule", "remove", "blue/default", "shut", "--wait")
        self.assertEqual(self.connect(), "0")

    # --- the network ---

    def test_cable_pulled_and_plugged_in_again(self):
        """The program comes to an end; the agents find each other again, and nothing is left over."""
        write_bw = PROGRAMS[3]._replace(argv=["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "4096",
                                              "-D", "20"])
        idle = self.hold("red/b")
        server = self.tenants.spawn("blue/a", write_bw.argv)
        client = None
        try:
            self.tenants.await_listening("blue/a", write_bw.port)
            client = self.tenants.spawn("blue/b", [*write_bw.argv, "10.0.0.1"])
            self.eventually(lambda: self.connections("hostB", "blue/b"), "connected")
            time.sleep(2)
            self.lab.host("hostB").set_cable(False)
            time.sleep(8)
            self.assertTrue(self.lab.daemon_alive("hostA", "vbond"))
            self.assertTrue(self.lab.daemon_alive("hostB", "vbond"))
            self.assertTrue(idle.running(), "an idle connection notices nothing")
        finally:
            self.lab.host("hostB").set_cable(True)
            if client is not None:
                ended = client.wait(90)
            server.kill()
        # Soft-RoCE either tells the program that its peer did not answer, or holds its packets back while there is no
        # carrier and goes on: which of both is the kernel's matter. It ends, and nothing of it stays.
        print(f"the program whose cable was pulled ended with {ended.code}")
        fabric.wait_in_sync(self.lab)
        self.eventually(lambda: self.connections("hostB", "red/b"), "the idle connection stands")
        idle.kill()
        for host in ("hostA", "hostB"):
            self.eventually(lambda at=host: self.agent(at).get("queuePairs", 0) == 0, f"no QP left on {host}")
        outcome = self.tenants.run_pair(PROGRAMS[0], ["blue"])[0]
        self.assertTrue(outcome.passed, outcome.proof)

    def test_packets_lost_and_late(self):
        """A bad network: connections are made and used all the same."""
        netem = ["tc", "qdisc", "replace", "dev", "eth0", "root", "netem", "delay", "5ms", "loss", "1%"]
        probed = self.lab.exec("hostA", netem)
        if probed.code != 0:
            self.skipTest("this kernel has no netem: " + probed.err.strip())
        try:
            outcome = self.tenants.run_pair(PROGRAMS[3], ["blue"], timeout=120)[0]
            self.assertTrue(outcome.passed, outcome.proof)
            self.tenants.must("endpoint", "update", "blue/b", "--description", "slow", "--wait")
        finally:
            self.lab.check("hostA", ["tc", "qdisc", "delete", "dev", "eth0", "root"])

    # --- the time ---

    def turn_clock(self, host, seconds):
        """The host's clock jumps, and nothing tells anybody."""
        self.lab.check(host, ["bash", "-c", f"date -s @$(($(date +%s) + {seconds}))"])

    def test_clocks_jump(self):
        """Heartbeats, rates of verbs and the order of events hang on no clock that can be turned."""
        self.tenants.must("qos", "policy", "create", "slow", "--rate", "connects=1/s,burst=2")
        self.tenants.must("qos", "attach", "slow", "blue/b", "--wait")
        turned = {"hostA": 0, "hostB": 0}
        held = self.hold("red/b")
        try:
            for host in turned:
                for jump in (DAY, -2 * DAY):
                    with self.subTest(host=host, jump=jump):
                        self.turn_clock(host, jump)
                        turned[host] += jump
                        self.assertEqual(self.connect(), "0")
                        self.assertEqual(self.state_of("hostB"), "ONLINE")
                        self.assertTrue(self.agent("hostB")["inSync"])
                        answers = [self.connect() for _ in range(2)]
                        self.assertTrue(set(answers) <= {"0", "EAGAIN"}, answers)
                        time.sleep(1.5)
                        self.assertEqual(self.connect(), "0", "the rate goes on by true seconds")
            self.tenants.must("endpoint", "update", "blue/b", "--description", "after", "--wait")
            sequences = [int(event["sequence"]) for event in self.tenants.events("hostB")]
            self.assertEqual(sequences, sorted(sequences))
            self.assertTrue(held.running())
            self.assertEqual(len(self.connections("hostB", "red/b")), 1)
            # Longer than an agent may be silent.
            time.sleep(16)
            self.assertEqual([self.state_of(host) for host in turned], ["ONLINE", "ONLINE"])
        finally:
            for host, seconds in turned.items():
                self.turn_clock(host, -seconds)
            held.kill()
            self.tenants.remove_limits()


if __name__ == "__main__":
    labtest.main()
