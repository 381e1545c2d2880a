# SPDX-License-Identifier: Apache-2.0
"""The agent is killed again and again under load; tenants must not notice."""

import concurrent.futures
import json
import os
import re
import signal
import statistics
import time

import labtest
from labkit import fabric

KILLS = int(os.environ.get("QMASQ_KILLS", "6"))
# What runs under the kills is told to end, and goes on for far longer than any machine takes for them.
ENDURE_SECONDS = 600 + 60 * KILLS
HOSTS = ("hostA", "hostB")


class Restart(labtest.LabTest):
    """Two tenants that connect all the time, and one whose data flows, while agents die."""

    def setUp(self):
        self.tenants.batch([
            ["sg", "create", "blue/nobody"],
            ["endpoint", "create", "blue/c", "--host", "hostB", "--address", "10.0.0.3", "--group", "nobody",
             "--wait"]])

    def tearDown(self):
        for host in HOSTS:
            if not self.lab.daemon_alive(host, "keeper"):
                fabric.start_keeper(self.lab, host)
            if not self.lab.daemon_alive(host, "vbond"):
                fabric.start_agent(self.lab, host)
        fabric.wait_in_sync(self.lab)
        self.tenants.batch([["endpoint", "delete", "blue/c", "--force", "--wait"], ["sg", "delete", "blue/nobody"]])

    def endure(self, endpoint, peer, *more):
        """A program of an endpoint that connects to a peer until it is told to end."""
        running = self.tenants.spawn(
            endpoint, [labtest.PROBE, "endure", "--gid", peer, "--seconds", str(ENDURE_SECONDS), *more])
        running.wait_for("standing", 30)
        return running

    def descriptors(self, host, daemon):
        """How many descriptors a daemon of the lab has open."""
        return int(self.lab.check(
            host, ["bash", "-c", f"ls /proc/$(cat /run/lab-{daemon}.pid)/fd | wc -l"]).strip())

    def objects(self, host):
        """What the agent has in the kernel: queue pairs, classes, links."""
        return {
            "rc": self.lab.check(host, ["rdma", "resource", "show", "qp"]).count("type RC"),
            "classes": len(self.lab.check(host, ["tc", "class", "show", "dev", "eth0"]).splitlines()),
            "links": len(self.lab.check(host, ["ip", "-o", "link"]).splitlines()),
        }

    def queue_pairs(self, host):
        """Queue pairs that the agent knows and those that the kernel has, by number."""
        known = self.tenants.json("conn", "list", host=host).get("connections", [])
        kernel = self.lab.check(host, ["rdma", "resource", "show", "qp"])
        return (sorted(each["qpn"] for each in known if each.get("qpn")),
                sorted(int(number) for number in
                       re.findall(r"lqpn (\d+) (?:rqpn \d+ )?type RC", kernel)))

    def kill_agent(self, host):
        """Kills an agent and starts the next; the state is not waited for."""
        self.lab.stop_daemon(host, "vbond", signal.SIGKILL)
        fabric.start_agent(self.lab, host)

    def syncs(self, host):
        """How often the agents of a host have come in step with the controller: costs the host nothing."""
        log = self.lab.host(host).folder / "vbond.log"
        return log.read_text(errors="replace").count(" in sync with the controller")

    def kill_again_and_again(self, host, times):
        """Each agent lives until it is in step, and a moment more. Returns the seconds from each kill until then."""
        away = []
        for number in range(times):
            time.sleep(0.3 + (number * 7 % 10) / 10)
            before = self.syncs(host)
            killed = time.monotonic()
            self.kill_agent(host)
            self.eventually(lambda: self.syncs(host) > before, f"{host}: agent {number + 1} is in step", 60)
            away.append(time.monotonic() - killed)
        return away

    def finish(self, host, running):
        """Ends a program that endures; no verb of it may have failed."""
        self.lab.exec(host, ["pkill", "-TERM", "-x", "qmasq-lab-probe"])
        result = running.wait(60)
        try:
            outcome = json.loads(result.out.splitlines()[-1])
        except (ValueError, IndexError):
            self.fail(f"exit {result.code}\n{result.out}{result.err}")
        self.assertEqual(outcome["failure"], "", outcome)
        self.assertEqual(outcome["forbidden_connected"], 0, outcome)
        return outcome

    def test_kills_of_the_agent_under_load(self):
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 0, "a quiet start")
        before = {host: self.objects(host) for host in HOSTS}
        flows = self.flow()
        loads = {"hostA": self.endure("blue/a", "10.0.0.2", "--forbidden", "10.0.0.3"),
                 "hostB": self.endure("blue/b", "10.0.0.1")}
        fabric.wait_in_sync(self.lab)
        time.sleep(3)
        held = {host: self.descriptors(host, "keeper") for host in HOSTS}
        # Both hosts at once, each by its own time: agents also die while the other is away.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            kills = {host: pool.submit(self.kill_again_and_again, host, KILLS // 2) for host in HOSTS}
            away = {host: done.result() for host, done in kills.items()}
        fabric.wait_in_sync(self.lab)
        for host, load in loads.items():
            self.assertTrue(load.running(), f"{host}: ended before it was told to: {load.out}{load.err}")
        time.sleep(2)
        for host in HOSTS:
            self.assertEqual(self.agent(host)["keeper"], "on")
            # Contexts that come and go: a few are on their way at any moment.
            self.assertLess(abs(self.descriptors(host, "keeper") - held[host]), 10, host)
        for host, load in loads.items():
            outcome = self.finish(host, load)
            print(f"{host}: {KILLS // 2} kills, {outcome['rounds']} rounds, longest verb of a round "
                  f"p99 {outcome['p99_ms']:.0f} ms, most {outcome['longest_ms']:.0f} ms; "
                  f"from a kill until in step median {statistics.median(away[host]):.1f} s, "
                  f"most {max(away[host]):.1f} s")
        self.unflow(flows)
        for host in HOSTS:
            self.assertEqual(self.tenants.events(host, "--type", "cut"), [], host)
            self.eventually(lambda host=host: self.agent(host).get("contexts", 0) == 0, "no context")
            known, kernel = self.queue_pairs(host)
            self.assertEqual((known, kernel), ([], []))
            after = self.objects(host)
            self.assertEqual(after["rc"], before[host]["rc"])
            self.assertLessEqual(after["links"], before[host]["links"] + 3)  # of blue/a, b bound now

    def flow(self):
        """Data of a pair of programs that goes on for minutes."""
        argv = ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "4096", "-D",
                str(20 + KILLS * 6), "--report_gbits", "-p", "18600"]
        server = self.tenants.spawn("red/a", argv)
        self.tenants.await_listening("red/a", 18600)
        return server, self.tenants.spawn("red/b", [*argv, "10.0.0.1"])

    def unflow(self, flows):
        """Waits for their end, which must be a good one."""
        for each in flows:
            result = each.wait(60 + KILLS * 6)
            self.assertEqual(result.code, 0, result.out + result.err)

    def test_standing_connections_are_known_after_a_kill(self):
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                             "--qpn", "17", "--hold", "60"])
        held.wait_for('"RTR":"0"')
        try:
            before = self.tenants.json("conn", "list", host="hostA")["connections"]
            log = self.lab.host("hostA").folder / "vbond.log"
            said_before = len(log.read_text(errors="replace"))
            self.kill_agent("hostA")
            fabric.wait_in_sync(self.lab)
            after = self.tenants.json("conn", "list", host="hostA")["connections"]
            for field in ("endpoint", "qpn", "peerEndpoint", "peerGid", "physicalGid", "flowLabel",
                          "state", "transport"):
                self.assertEqual([each.get(field) for each in before],
                                 [each.get(field) for each in after], field)
            known, kernel = self.queue_pairs("hostA")
            self.assertEqual(known, kernel)
            # And what it sees in sysfs is there as before.
            self.assertNotIn(" after a restart: ", log.read_text(errors="replace")[said_before:])
            restored = self.tenants.events("hostA", "--type", "restored")
            self.assertEqual(restored[-1]["endpoint"], "vpcs/blue/endpoints/a")
        finally:
            held.kill()

    def test_what_was_forbidden_while_the_agent_was_away_is_cut(self):
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                             "--qpn", "17", "--hold", "60"])
        held.wait_for('"RTR":"0"')
        try:
            self.lab.stop_daemon("hostA", "vbond", signal.SIGKILL)
            self.tenants.must("endpoint", "update", "blue/b", "--group", "nobody")
            fabric.start_agent(self.lab, "hostA")
            fabric.wait_in_sync(self.lab)
            self.eventually(lambda: self.tenants.events("hostA", "--type", "cut"), "it is cut")
            self.assertIn("while the agent was away",
                          self.tenants.events("hostA", "--type", "cut")[-1]["reason"])
        finally:
            held.kill()
            self.tenants.must("endpoint", "update", "blue/b", "--group", "default", "--wait")

    def test_a_stopped_agent_leaves_everything(self):
        load = self.endure("blue/a", "10.0.0.2")
        for _ in range(3):
            self.lab.stop_daemon("hostA", "vbond")
            fabric.start_agent(self.lab, "hostA")
            fabric.wait_in_sync(self.lab)
        self.finish("hostA", load)

    def test_the_keeper_is_killed(self):
        load = self.endure("blue/a", "10.0.0.2")
        self.lab.stop_daemon("hostA", "keeper", signal.SIGKILL)
        self.eventually(lambda: self.agent("hostA")["keeper"].startswith("lost"), "it is said")
        fabric.start_keeper(self.lab, "hostA")
        self.eventually(lambda: self.agent("hostA")["keeper"] == "on", "it has everything again")
        # Worth as much as the one before.
        self.kill_agent("hostA")
        fabric.wait_in_sync(self.lab)
        self.finish("hostA", load)

    def test_both_are_killed(self):
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                             "--qpn", "17", "--hold", "30"])
        held.wait_for('"RTR":"0"')
        try:
            self.lab.stop_daemon("hostA", "keeper", signal.SIGKILL)
            self.lab.stop_daemon("hostA", "vbond", signal.SIGKILL)
            # The program has its descriptor, and its connection goes on; verbs fail.
            self.assertIn("type RC", self.lab.check("hostA", ["rdma", "resource", "show", "qp"]))
            fabric.start_keeper(self.lab, "hostA")
            fabric.start_agent(self.lab, "hostA")
            fabric.wait_in_sync(self.lab)
            answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")
            self.assertEqual(answer["RTR"], "0")
        finally:
            held.kill()

    def test_tenants_killed_while_the_agent_is_away(self):
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                             "--qpn", "17", "--hold", "60"])
        held.wait_for('"RTR":"0"')
        self.lab.stop_daemon("hostA", "vbond", signal.SIGKILL)
        held.kill()
        fabric.start_agent(self.lab, "hostA")
        fabric.wait_in_sync(self.lab)
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 0, "contexts closed")
        self.assertNotIn("type RC", self.lab.check("hostA", ["rdma", "resource", "show", "qp"]))


if __name__ == "__main__":
    labtest.main()
