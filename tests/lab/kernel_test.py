# SPDX-License-Identifier: Apache-2.0
"""The suites that fake kernels pass, on the kernel of the lab's hosts: an older one than the machine's."""

import labtest
from labkit.paths import BIN

SUITES = ("kernel_features_test", "netlink_kernel_test", "overlay_kernel_test", "intercept_native_test",
          "cli_run_test", "qos_tc_kernel_test")


class Kernel(labtest.LabTest):
    """Seccomp notification, rtnetlink, bridges and VXLAN devices as Linux 6.1 has them."""

    vpcs = ()

    def test_suites(self):
        for suite in SUITES:
            with self.subTest(suite=suite):
                result = self.lab.exec("hostA", [BIN.parent / "tests" / suite, "--gtest_brief=1"], timeout=600)
                self.assertEqual(result.code, 0, result.out[-4000:] + result.err[-4000:])
                self.assertNotIn("SKIPPED", result.out)


if __name__ == "__main__":
    labtest.main()
