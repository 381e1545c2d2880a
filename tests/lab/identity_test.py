# SPDX-License-Identifier: Apache-2.0
"""A tenant sees its own virtual GIDs, the same by every way, and no physical address by any."""

import json

import labtest


class Identity(labtest.LabTest):
    """What a tenant can ask about itself."""

    def physical_marks(self, host):
        """Texts that must not be seen: GIDs, GUID and MAC of the host's NIC."""
        native = json.loads(self.lab.check(host, [labtest.PROBE, "identity"]).splitlines()[-1])
        marks = [gid for gid in native["query_gid"] if set(gid) - set("0:")]
        marks += [native["sysfs"]["node_guid"], native["guids"]]
        marks.append(self.lab.check(host, ["cat", "/sys/class/net/eth0/address"]).strip())
        return [mark for mark in marks if mark]

    def test_same_table_by_every_way(self):
        for endpoint, address in (("blue/a", "0a00:0001"), ("red/b", "0a00:0002")):
            answer = self.probe(endpoint, "identity")
            gids = answer["query_gid"]
            self.assertTrue(gids[0].startswith("fe80:"), gids)
            self.assertEqual(gids[1], "0000:0000:0000:0000:0000:ffff:" + address)
            table = {entry["index"]: entry["gid"] for entry in answer["gid_table"]}
            self.assertEqual(table, {0: gids[0], 1: gids[1]})
            files = answer["sysfs"]["gids"]
            for index, gid in table.items():
                self.assertEqual(files[str(index)], gid)
                self.assertEqual(answer["sysfs"]["types"][str(index)], "RoCE v2")
            for index in set(files) - {"0", "1"}:
                self.assertEqual(files[index].strip("0:"), "", f"index {index}")

    def test_no_physical_address_by_any_way(self):
        marks = self.physical_marks("hostA")
        self.assertGreaterEqual(len(marks), 4)
        answer = self.probe("blue/a", "identity")
        listing = self.tenants.run("blue/a", [
            "sh", "-c", "ibv_devinfo -v; ibv_devices; rdma -d link; rdma res show qp; ip addr; ip neigh; "
            "cat /sys/class/infiniband/rxe0/node_guid; "
            "grep -r . /sys/class/infiniband/rxe0/ports/1/gids /sys/class/infiniband/rxe0/ports/1/gid_attrs"])
        text = json.dumps(answer) + listing.out + listing.err
        self.assertIn("0a00:0001", text)
        for mark in marks:
            self.assertNotIn(mark, text)
        for physical in self.lab.hosts:
            self.assertNotIn(physical.ipv4, text)
            self.assertNotIn(physical.gid_tail, text)

    def test_rdma_netlink_is_closed_to_tenants(self):
        script = "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 20)"
        self.assertEqual(self.lab.exec("hostA", ["/usr/bin/python3", "-c", script]).code, 0)
        result = self.tenants.run("blue/a", ["/usr/bin/python3", "-c", script])
        self.assertIn("Protocol not supported", result.err)

    def test_two_endpoints_of_one_address_have_their_own_macs(self):
        blue = self.probe("blue/a", "identity")["query_gid"][0]
        red = self.probe("red/a", "identity")["query_gid"][0]
        self.assertNotEqual(blue, red)

    def test_added_address_appears_in_the_table(self):
        self.tenants.must("endpoint", "update", "red/a", "--address", "10.0.0.1",
                          "--address", "10.0.0.9", "--wait")
        answer = self.probe("red/a", "identity")
        self.assertTrue(answer["query_gid"][2].endswith("0a00:0009"), answer)
        self.assertTrue(answer["sysfs"]["gids"]["2"].endswith("0a00:0009"), answer)
        self.assertEqual(self.probe("red/b", "connect", "--gid", "10.0.0.9", "--qpn", "17")["RTR"], "0")

    def test_nics_that_come_later_are_not_seen(self):
        """Neither one that is not the agent's, nor its own after the kernel made it anew."""
        host = "hostA"
        look = ("cd /sys/class/infiniband; ls; (grep -rs . */ports/*/gids */node_guid; "
                "find /sys/devices -path '*/infiniband/*/gids/*' -exec grep -Hs . {} +) "
                "| grep -v ':0000:0000:0000:0000:0000:0000:0000:0000'; true")
        watcher = self.tenants.spawn("blue/a", [
            "sh", "-c", f"echo ready; until test -e /run/look; do sleep 0.2; done; {look}; echo seen"])
        watcher.wait_for("ready")
        try:
            self.lab.check(host, ["sh", "-ec", "ip link add later type dummy; ip link set later up; "
                                  "ip addr add 198.51.100.7/24 dev later; "
                                  "rdma link add rxe7 type rxe netdev later; rdma link delete rxe0; "
                                  "rdma link add rxe0 type rxe netdev eth0"])
            marks = self.physical_marks(host) + ["c633:6407"]
            native = self.lab.exec(host, ["sh", "-c", look]).out
            self.assertIn("c633:6407", native)
            self.lab.check(host, ["touch", "/run/look"])
            watcher.wait_for("seen")
            self.eventually(lambda: any(nic.get("primaryGid") for nic in self.agent(host)["nics"]),
                            "the agent has the new NIC")
            fresh = self.tenants.run("blue/a", ["sh", "-c", look])
        finally:
            self.lab.check(host, ["sh", "-c", "rdma link delete rxe7; ip link delete later; rm -f /run/look"])
            result = watcher.stop()
        for text in (result.out + result.err, fresh.out + fresh.err):
            for mark in marks:
                self.assertNotIn(mark, text)
        self.assertIn("0a00:0001", fresh.out)


if __name__ == "__main__":
    labtest.main()
