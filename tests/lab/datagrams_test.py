# SPDX-License-Identifier: Apache-2.0
"""UD on real RDMA: only where rules name it, to whom they name, and until they go."""

import time

import labtest
from policytest import PolicyTest, perftest


class Datagrams(PolicyTest):
    """Address handles and UD queue pairs."""

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
            self.assertEqual(address_handles("hostA")[0]["state"], "address")
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

    def underlay(self, host):
        """Its address outside of every VPC."""
        nics = self.tenants.json("host", "get", host)["nics"]
        return nics[0]["primaryGid"]


if __name__ == "__main__":
    labtest.main()
