# SPDX-License-Identifier: Apache-2.0
"""Broken and hostile arguments: the errno that the kernel would give, and an unharmed agent."""

import json

import labtest

# Where a refusal differs from the native answer on purpose.
DIFFERS = {
    # A descriptor that the agent opened takes no legacy command from anybody else.
    "write(MODIFY_QP)": {"EOPNOTSUPP"},
    "write(MODIFY_QP) on a dup": {"EACCES", "EOPNOTSUPP", "EINVAL"},
    # Not in the table of verbs: fail closed.
    "unknown object": {"EOPNOTSUPP"},
    "unknown method": {"EOPNOTSUPP"},
    # Part of a header was readable; libibverbs never sends it.
    "attributes beyond mapped memory": {"EFAULT"},
}


class Hostile(labtest.LabTest):
    """The probe's broken requests, natively and under qmasq."""

    vpcs = ("blue",)

    def test_errnos_are_the_kernels(self):
        native = json.loads(self.lab.check("hostA", [labtest.PROBE, "hostile"]).splitlines()[-1])
        tenant = self.probe("blue/a", "hostile")
        self.assertEqual(tenant["still alive"], "0")
        self.assertEqual(set(native), set(tenant))
        for case, errno in native.items():
            with self.subTest(case=case, native=errno):
                self.assertIn(tenant[case], DIFFERS.get(case, {errno}))

    def test_agent_is_unharmed(self):
        before = self.agent("hostA")
        for _ in range(3):
            self.probe("blue/a", "hostile")
        self.assertTrue(self.lab.daemon_alive("hostA", "vbond"))
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == before.get("contexts", 0),
                        "contexts of ended programs are closed")
        self.assertEqual(self.probe("blue/a", "connect", "--gid", "10.0.0.2", "--qpn", "17")["RTR"], "0")


if __name__ == "__main__":
    labtest.main()
