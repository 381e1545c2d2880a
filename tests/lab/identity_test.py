# SPDX-License-Identifier: Apache-2.0
"""A tenant sees its own virtual GIDs, the same by every way, and no physical address by any."""

import json

import labtest

PHYSICAL_GIDS = ("c0a8:4d0a", "c0a8:4d0b", "fd77:")


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
        self.assertNotIn("192.168.77.", text)

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


if __name__ == "__main__":
    labtest.main()
