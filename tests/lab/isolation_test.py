# SPDX-License-Identifier: Apache-2.0
"""Each tenant only to itself; no way around the agent."""

import labtest


class Isolation(labtest.LabTest):
    """What a tenant must not reach."""

    def test_address_of_another_vpc_is_no_peer(self):
        self.tenants.create_endpoint("red/c", "hostB", "10.0.0.3")
        self.assertEqual(self.probe("red/a", "connect", "--gid", "10.0.0.3", "--qpn", "17")["RTR"], "0")
        answer = self.probe("blue/a", "connect", "--gid", "10.0.0.3", "--qpn", "17")
        self.assertEqual(answer["RTR"], "EHOSTUNREACH")
        event = self.refusals("hostA", "blue/a")[-1]
        self.assertEqual(event["errnoName"], "EHOSTUNREACH")
        self.assertIn("10.0.0.3", event["reason"])
        self.assertIn("vpcs/blue", event["reason"])

    def test_physical_address_is_no_peer(self):
        for gid in [host.ipv4 for host in self.lab.hosts]:
            answer = self.probe("blue/a", "connect", "--gid", gid, "--qpn", "17")
            self.assertEqual(answer["RTR"], "EHOSTUNREACH", gid)

    def test_index_beyond_the_virtual_table_is_refused(self):
        for index in ("2", "3", "200"):
            answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17",
                                "--gid-index", index)
            self.assertEqual(answer["RTR"], "EINVAL", index)

    def test_query_tells_the_tenant_what_it_gave(self):
        answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")
        self.assertEqual(answer["QUERY_QP"], "0")
        self.assertTrue(answer["dgid"].endswith("ffff:0a00:0002"), answer)
        self.assertEqual(answer["sgid_index"], 1)
        self.assertEqual(answer["flow_label"], 0)

    def test_unreliable_datagrams_and_others_are_refused(self):
        for kind, refusals in (("ud", ["EACCES"]), ("raw", ["EOPNOTSUPP", "EPERM"]), ("xrc", ["EOPNOTSUPP"])):
            answer = self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--type", kind)
            self.assertIn(answer["CREATE_QP"], refusals, kind)

    def test_program_without_the_filter_cannot_open_the_masked_device(self):
        sleeper = self.tenants.spawn("blue/a", ["sh", "-c", "echo pid $$; exec sleep 60"])
        try:
            pid = sleeper.wait_for(r"^pid (\d+)").group(1)
            inside = ["nsenter", "--target", pid, "--mount", "--net", "--"]
            result = self.lab.exec("hostA", [*inside, "ibv_rc_pingpong", "-d", "rxe0", "-g", "1"])
            self.assertNotEqual(result.code, 0)
            self.assertIn("Couldn't get context", result.err)
            result = self.lab.exec("hostA", [*inside, "sh", "-c", ": < /dev/infiniband/uverbs0"])
            self.assertNotEqual(result.code, 0)
        finally:
            sleeper.kill()

    def test_read_only_open_inside_an_endpoint_finds_no_usable_node(self):
        result = self.tenants.run("blue/a", ["sh", "-c", ": < /dev/infiniband/uverbs0"])
        self.assertNotEqual(result.code, 0)
        self.assertIn("denied", result.err)

    def test_tenant_cannot_undo_its_mounts_or_make_nodes(self):
        for command in ("umount /dev/infiniband", "mknod /tmp/uverbs0 c 231 192",
                        "mount -t tmpfs none /mnt", "unshare -m true"):
            result = self.tenants.run("blue/a", ["sh", "-c", command])
            self.assertNotEqual(result.code, 0, command)

    def test_overlay_keeps_tenants_apart_and_floods_nothing(self):
        self.tenants.must("run", "--endpoint", "blue/b", "--", "true", host="hostB")  # binds it
        listener = self.tenants.capture("hostB", "udp port 4789")
        self.assertEqual(self.tenants.run("blue/a", ["ping", "-c", "2", "-W", "5", "10.0.0.2"]).code, 0)
        packets = listener.stop()
        self.assertGreaterEqual(len(packets), 4)
        listener = self.tenants.capture("hostB", "udp port 4789")
        self.assertNotEqual(self.tenants.run("blue/a", ["ping", "-c", "2", "-W", "2", "10.0.0.77"]).code, 0)
        self.assertEqual([packet.text for packet in listener.stop()], [])


if __name__ == "__main__":
    labtest.main()
