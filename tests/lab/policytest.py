# SPDX-License-Identifier: Apache-2.0
"""Two endpoints of one VPC, and what rules make of them: shared by the tests of security groups."""

import re

import labtest
from labkit.tenants import Program

EXIT_DENIED = 5  # of `qmasq trace`


def perftest(name, *more, size=4096):
    """A perftest program over the virtual GID of that index."""
    return Program(name, [name, "-d", "rxe0", "-F", "-s", str(size), *more], 18515,
                   rf"^ *{size} +\d+ +[\d.]+")


class PolicyTest(labtest.LabTest):
    """Endpoints blue/a (10.0.0.1) and blue/b (10.0.0.2), both families."""

    vpcs = ()

    def setUp(self):
        self.tenants.remove_all()
        self.tenants.create_vpcs([("blue", ["10.0.0.0/24", "fd00::/64"], [
            ("a", "hostA", ["10.0.0.1", "fd00::1"]), ("b", "hostB", ["10.0.0.2", "fd00::2"])])])

    def admin(self, *words):
        """A change that all hosts have when this returns."""
        return self.tenants.must(*words, "--wait")

    def trace(self, *words):
        """Verdict of `qmasq trace --live` from b to a: True if allowed. The agents must say the same."""
        result = self.tenants.qmasq("trace", "--from", "blue/b", "--to", "blue/a", "--live", *words)
        self.assertIn(result.code, (0, EXIT_DENIED), result.err)
        lives = re.findall(r"^Live +(\S+): (allowed|refused) at revision \d+(.*)", result.out, re.MULTILINE)
        self.assertEqual(len(lives), 2, result.out)
        for _, _, disagreement in lives:
            self.assertEqual(disagreement, "", result.out)
        return result.code == 0

    def run_pair(self, program):
        """The program with its server in blue/a and its client in blue/b."""
        return self.tenants.run_pair(program, ["blue"])[0]

    def assert_runs(self, program):
        """It runs, and trace said so."""
        self.assertTrue(self.trace())
        outcome = self.run_pair(program)
        self.assertTrue(outcome.passed, outcome.proof)

    def assert_refused(self, *reasons):
        """Connecting from either side gives EACCES with an event that tells why, as trace says."""
        self.assertFalse(self.trace())
        for endpoint, host, peer in (("blue/b", "hostB", "10.0.0.1"), ("blue/a", "hostA", "10.0.0.2")):
            answer = self.probe(endpoint, "connect", "--gid", peer, "--qpn", "17")
            self.assertEqual(answer["RTR"], "EACCES", answer)
            event = self.refusals(host, endpoint)[-1]
            self.assertEqual(event["errnoName"], "EACCES")
            for reason in reasons:
                self.assertIn(reason, event["reason"])
