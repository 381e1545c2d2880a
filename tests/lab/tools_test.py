# SPDX-License-Identifier: Apache-2.0
"""Other people's tools between two endpoints, unmodified: qperf and UCX."""

import labtest


class Tools(labtest.LabTest):
    """qperf's RC tests and ucx_perftest over rc_verbs."""

    vpcs = ("blue",)

    def test_qperf_rc(self):
        server = self.tenants.spawn("blue/a", ["qperf"])
        try:
            self.tenants.await_listening("blue/a", 19765)
            result = self.tenants.run("blue/b", [
                "qperf", "10.0.0.1", "-t", "1", "-i", "rxe0:1", "rc_lat", "rc_bw", "rc_rdma_write_bw",
                "rc_rdma_read_lat"], timeout=90)
            self.assertEqual(result.code, 0, result.out + result.err)
            for test in ("rc_lat", "rc_bw", "rc_rdma_write_bw", "rc_rdma_read_lat"):
                self.assertIn(test + ":", result.out)
        finally:
            server.kill()

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
