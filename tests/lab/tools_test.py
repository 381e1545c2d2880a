# SPDX-License-Identifier: Apache-2.0
"""Other people's tools between two endpoints, unmodified: qperf and UCX."""

import labtest


class Tools(labtest.LabTest):
    """ucx_perftest over rc_verbs, and what qperf can do on RoCE at all."""

    vpcs = ("blue",)

    def test_qperf_fails_as_it_does_natively(self):
        """qperf without -cm sends an address vector without GRH, which no RoCE NIC takes (EINVAL);
        with -cm it needs the RDMA connection manager, which tenants do not have yet."""
        argv = ["-t", "1", "-i", "rxe0:1", "rc_lat"]
        server = self.lab.spawn("hostA", ["qperf"])
        try:
            script = "until ss -Hltn 'sport = :19765' | grep -q .; do sleep 0.1; done"
            self.lab.check("hostA", ["timeout", "30", "bash", "-c", script])
            native = self.lab.exec("hostB", ["qperf", self.lab.host("hostA").ipv4, *argv])
        finally:
            server.kill()
        server = self.tenants.spawn("blue/a", ["qperf"])
        try:
            self.tenants.await_listening("blue/a", 19765)
            tenant = self.tenants.run("blue/b", ["qperf", "10.0.0.1", *argv])
        finally:
            server.kill()
        self.assertIn("failed to modify QP to RTR: Invalid argument", native.out + native.err)
        self.assertIn("failed to modify QP to RTR: Invalid argument", tenant.out + tenant.err)
        self.assertEqual(tenant.code, native.code)
        # Whichever side was first; the other may have given up before it tried.
        refusals = self.refusals("hostA", "blue/a") + self.refusals("hostB", "blue/b")
        self.assertTrue(any("RoCE" in event["reason"] for event in refusals), refusals)

    def test_ucx_perftest_rc_verbs(self):
        env = ["env", "UCX_NET_DEVICES=rxe0:1", "UCX_TLS=rc_verbs", "UCX_IB_GID_INDEX=1"]
        argv = [*env, "ucx_perftest", "-t", "put_lat", "-d", "rxe0:1", "-x", "rc_verbs", "-n", "50",
                "-w", "5", "-s", "64", "-p", "13337"]
        server = self.tenants.spawn("blue/a", argv)
        try:
            self.tenants.await_listening("blue/a", 13337)
            result = self.tenants.run("blue/b", [*argv, "10.0.0.1"], timeout=90)
            self.assertEqual(result.code, 0, result.out + result.err + server.out + server.err)
            self.assertIn("Final:", result.out)
        finally:
            server.kill()


if __name__ == "__main__":
    labtest.main()
