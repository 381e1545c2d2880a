# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs in two VPCs with the same addresses, at the same time."""

import ipaddress

import labtest
from labkit.tenants import PROGRAMS


class Programs(labtest.LabTest):
    """Each program of the demo, in both VPCs at once."""

    def test_all(self):
        for program in PROGRAMS:
            with self.subTest(program=program.name):
                for outcome in self.tenants.run_pair(program, self.vpcs):
                    self.assertTrue(outcome.passed, f"{outcome.vpc}: {outcome.proof}")

    def test_programs_print_virtual_gids_and_the_wire_carries_physical_addresses(self):
        physical = {gid for vpc in self.vpcs for gid in self.tenants.vpc_gids(vpc).values()}
        capture = self.tenants.capture()
        outcomes = self.tenants.run_pair(PROGRAMS[0], self.vpcs)
        packets = capture.stop()
        for outcome in outcomes:
            self.assertTrue(outcome.passed, outcome.proof)
            text = outcome.server.out + outcome.client.out
            self.assertIn("::ffff:10.0.0.1", text)
            self.assertIn("::ffff:10.0.0.2", text)
            for address in physical | {host.ipv4 for host in self.lab.hosts}:
                self.assertNotIn(address, text)
        self.assertGreater(len(packets), 100)
        for packet in packets:
            self.assertIn(packet.source, physical, packet.text)
            self.assertIn(packet.destination, physical, packet.text)

    def test_connections_and_events_tell_both_sides(self):
        held = self.tenants.spawn("blue/a", [labtest.PROBE, "connect", "--gid", "10.0.0.2",
                                             "--qpn", "17", "--hold", "60"])
        try:
            held.wait_for('"RTR":"0"')
            connections = self.tenants.json("conn", "list")["connections"]
            self.assertEqual(len(connections), 1, connections)
            connection = connections[0]
            self.assertEqual(connection["endpoint"], "vpcs/blue/endpoints/a")
            self.assertEqual(connection["peerEndpoint"], "vpcs/blue/endpoints/b")
            self.assertEqual(connection["peerQpn"], 17)
            self.assertEqual(ipaddress.ip_address(connection["peerPhysicalGid"]),
                             ipaddress.ip_address(self.tenants.vpc_gids("blue")["hostB"]), connection)
            self.assertTrue(connection["peerVirtualGid"].endswith("0a00:0002"), connection)
        finally:
            held.kill()
        self.eventually(lambda: not self.tenants.json("conn", "list").get("connections"),
                        "the connection of a killed program is gone")
        types = [event["type"] for event in self.tenants.events("hostA", "--endpoint", "blue/a")]
        self.assertIn("connected", types)
        self.assertIn("disconnected", types)
        self.assertIn("detached", types)


if __name__ == "__main__":
    labtest.main()
