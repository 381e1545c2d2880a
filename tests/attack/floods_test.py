# SPDX-License-Identifier: Apache-2.0
"""Floods of verbs, of descriptors and of long arguments: neither the agent nor another tenant is hurt."""

import re
import time

from attacktest import ATTACK, AttackTest, main, report
from labkit.tenants import PROGRAMS
import labtest


class Floods(AttackTest):
    """blue floods; red is at work."""

    def resident(self):
        """Memory of hostA's agent, KiB."""
        text = self.lab.check("hostA", ["sh", "-c", "cat /proc/$(cat /run/lab-vbond.pid)/status"])
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))

    def assert_neighbour_works(self):
        """A whole program of the other tenant, between both hosts."""
        outcome = self.tenants.run_pair(PROGRAMS[0], ["red"], timeout=180)[0]
        self.assertTrue(outcome.passed, outcome.proof)

    def test_verbs(self):
        """What no rate holds back, beside what one does."""
        def flood(seconds):
            result = self.tenants.run("blue/a", [labtest.PROBE, "flood", "--seconds", str(seconds)])
            found = re.search(r'"verbs":(\d+)', result.out)
            return int(found.group(1)) if found else 0
        control = flood(5)
        self.tenants.must("qos", "policy", "create", "slow", "--rate", "verbs=20/s,burst=20")
        self.tenants.must("qos", "attach", "slow", "blue/a", "--wait")
        try:
            running = [self.tenants.spawn("blue/a", [labtest.PROBE, "flood", "--seconds", "60"]) for _ in range(8)]
            try:
                self.assert_neighbour_works()
            finally:
                for each in running:
                    each.kill()
            limited = flood(5)
        finally:
            self.tenants.remove_limits()
        # Five seconds of 20/s and the burst; the program gives up at the first refusal.
        report("verbs beyond a rate of 20/s", 1, int(limited > 20 * 6 + 20), control)
        self.assertGreater(control, 20 * 6 + 20)
        self.assertLessEqual(limited, 20 * 6 + 20)
        self.assert_healthy()

    def test_descriptors(self):
        """Programs of one tenant open as many devices as they get."""
        wanted = 600
        control = self.native("descriptors", "--count", str(wanted))
        self.assertEqual(control["opened"], wanted, control)
        before = self.resident()
        running = [self.tenants.spawn("blue/a", [ATTACK, "descriptors", "--count", str(wanted), "--hold", "120"])
                   for _ in range(3)]
        try:
            opened = [int(each.wait_for(r'"opened":(\d+)', 60).group(1)) for each in running]
            report("open devices beyond the reserved numbers", 3, sum(count > 64 for count in opened),
                   control["opened"])
            self.assertTrue(all(0 < count <= 64 for count in opened), opened)
            self.assert_neighbour_works()
        finally:
            for each in running:
                each.kill()
        self.eventually(lambda: self.agent("hostA").get("contexts", 0) == 0, "contexts of ended programs are closed")
        self.assertLess(self.resident() - before, 64 * 1024)
        self.assert_healthy()

    def test_lengths(self):
        """Many threads, each argument and answer as long as an attribute can say."""
        before = self.resident()
        running = [self.tenants.spawn("blue/a", [ATTACK, "lengths", "--count", "16", "--seconds", "20"])
                   for _ in range(2)]
        peak = before
        try:
            until = time.monotonic() + 8
            while time.monotonic() < until:
                peak = max(peak, self.resident())
            self.assert_neighbour_works()
            peak = max(peak, self.resident())
            ended = [each.wait(60) for each in running]
        finally:
            for each in running:
                each.kill()
        calls = [int(re.search(r'"calls":(\d+)', each.out).group(1)) for each in ended]
        # 32 threads with four attributes of 64 KiB each, were they all taken in at once.
        report("memory of the agent by lengths", sum(calls), int(peak - before > 64 * 1024),
               "none, the bounds cannot be switched off")
        print(f"agent: {before} KiB before, {peak} KiB at most")
        self.assertGreater(min(calls), 100)
        self.assertLess(peak - before, 64 * 1024)
        self.assert_healthy()


if __name__ == "__main__":
    main()
