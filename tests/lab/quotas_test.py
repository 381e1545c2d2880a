# SPDX-License-Identifier: Apache-2.0
"""Quotas and verb rates on a real kernel: exact at the limit, and free again whatever ends a program."""

import labtest
from labkit.tenants import PROBE

KINDS = {"cq": "cqs", "mr": "mrs", "qp": "qps", "srq": "srqs"}


class Quotas(labtest.LabTest):
    """blue/a on hostA."""

    vpcs = ("blue",)

    def setUp(self):
        self.tenants.remove_limits()

    def policy(self, target, name, *words):
        """A policy that the target has from now on."""
        self.tenants.must("qos", "policy", "create", name, *words)
        self.tenants.must("qos", "attach", name, target, "--wait")

    def hoard(self, *words):
        """What the probe could make."""
        return self.probe("blue/a", "hoard", *words)

    def used(self, resource):
        """Objects that the agent counts for blue/a."""
        text = self.lab.check("hostA", ["curl", "-s", "http://127.0.0.1:9478/metrics"])
        for line in text.splitlines():
            name = "pinned_bytes" if resource == "pinned_bytes" else "used"
            if line.startswith(f"qmasq_vbond_quota_{name}{{") and 'endpoint="a"' in line and \
                    (resource == "pinned_bytes" or f'resource="{resource}"' in line):
                return int(float(line.split()[-1]))
        self.fail(f"no metric of {resource}")
        return None

    def test_exact_at_the_limit_for_each_kind(self):
        self.policy("blue/a", "few", *[word for name in KINDS.values() for word in ("--quota", f"{name}=7")])
        for kind in KINDS:
            with self.subTest(kind=kind):
                answer = self.hoard("--kind", kind, "--count", "20", "--churn", "20")
                self.assertEqual(answer, {"kind": kind, "made": 7, "failed": "EDQUOT"})
        events = self.tenants.events("hostA", "--endpoint", "blue/a", "--type", "over-quota")
        self.assertTrue(any("limit of 7" in event["reason"] for event in events), events)

    def test_registrations_that_fail_do_not_count(self):
        self.policy("blue/a", "few", "--quota", "mrs=5")
        answer = self.hoard("--kind", "mr", "--count", "20", "--bad")
        self.assertEqual((answer["made"], answer["failed"]), (5, "EDQUOT"), answer)
        self.assertIn(answer["bad"], ("EFAULT", "EDQUOT", "ENOMEM", "EINVAL"), answer)

    def test_pinned_bytes_of_the_vpc(self):
        self.policy("blue", "small", "--quota", "pinned=64KiB")
        answer = self.hoard("--kind", "mr", "--count", "20", "--bytes", "8192")
        self.assertEqual((answer["made"], answer["failed"]), (8, "EDQUOT"), answer)
        reason = self.tenants.events("hostA", "--endpoint", "blue/a", "--type", "over-quota")[-1]["reason"]
        self.assertIn("pinned_bytes of vpcs/blue", reason)

    def test_metrics_tell_the_truth_and_kill_frees(self):
        for kind, resource in (("cq", "completion_queues"), ("mr", "memory_regions"),
                               ("srq", "shared_receive_queues"), ("qp", "queue_pairs")):
            with self.subTest(kind=kind):
                held = self.tenants.spawn("blue/a", [PROBE, "hoard", "--kind", kind, "--count", "6", "--hold", "60"])
                try:
                    held.wait_for('"made":6')
                    self.eventually(lambda r=resource: self.used(r) == 6, f"6 {resource}")
                    self.lab.check("hostA", ["pkill", "-KILL", "-x", "qmasq-lab-probe"])
                finally:
                    held.wait()
                self.eventually(lambda r=resource: self.used(r) == 0, f"no {resource}")
        self.assertEqual(self.used("pinned_bytes"), 0)

    def test_verb_rate(self):
        self.policy("blue/a", "slow", "--rate", "qps=2/s,burst=3")
        answer = self.hoard("--kind", "qp", "--count", "20")
        self.assertEqual(answer["failed"], "EAGAIN", answer)
        self.assertGreaterEqual(answer["made"], 3)
        self.assertLess(answer["made"], 20)


if __name__ == "__main__":
    labtest.main()
