# SPDX-License-Identifier: Apache-2.0
"""A verbs device of one's own, and the legacy interface on one that the agent has opened."""

import re

from attacktest import ATTACK, AttackTest, main, report
from labkit.tenants import QMASQ

# Ways that lead nowhere on this kernel even for root, so that no run shows them at work: devices of a
# user namespace are nobody's, Debian's kernel takes x32 calls only with a boot option, and a verbs
# device takes no positioned and no spliced write.
NO_CONTROL = {"mknod as root of a user namespace", "a user and mount namespace", "x32", "O_PATH", "device",
              "pwrite", "splice", "write over a socket", "in a child"}


class Opens(AttackTest):
    """Every path to /dev/infiniband/uverbs0."""

    vpcs = ("blue", "red")

    def test_no_way_leads_to_a_device_of_ones_own(self):
        control = self.native("opens")
        worked = [way for way, answer in control.items() if answer == "own"]
        self.assertEqual(set(control) - set(worked) - NO_CONTROL, set(), control)
        successes = []
        for words in ([], ["--user", "1234"]):
            result = self.lab.exec("hostA", [*self.qmasq_run(words), ATTACK, "opens"])
            answers = self.answer(result, words)
            self.assertEqual(set(answers) ^ set(control), set())
            successes += [way for way, answer in answers.items() if answer == "own"]
            # What the agent opens for it is the only device that it gets.
            self.assertEqual(answers["openat"], "agent", answers)
        report("a verbs device of one's own", 2 * len(control), len(successes), len(worked))
        self.assertEqual(successes, [])
        self.assert_healthy()

    @staticmethod
    def qmasq_run(words):
        """Command line of a program in blue/a."""
        return [QMASQ, "run", "--endpoint", "blue/a", *words, "--"]


class LegacyWrites(AttackTest):
    """write(MODIFY_QP) to another host, on every kind of copy."""

    def connected(self, host, qpn):
        """Queue pairs that the kernel has connected to that number."""
        return [line for line in self.queue_pairs(host) if re.search(rf"rqpn {qpn} .*state RT[RS]", line)]

    def stay(self, spawn, qpn):
        """Answers of the program, and what the kernel shows while its last queue pair stays."""
        words = [ATTACK, "writes", *self.physical(), "--qpn", str(qpn), "--hold", "60"]
        running = spawn(words)
        try:
            line = running.wait_for(r'^\{"device".*$', 60).group(0)
            return self.answer(type("Result", (), {"out": line})(), words), self.connected("hostA", qpn)
        finally:
            running.kill()

    def test_no_write_is_taken(self):
        control, seen = self.stay(lambda words: self.lab.spawn("hostA", words), 4242)
        worked = [way for way, answer in control.items() if answer == "done"]
        self.assertEqual(set(control) - set(worked) - NO_CONTROL, set(), control)
        self.assertEqual(len(seen), 1, "natively the write connects the queue pair")
        answers, seen = self.stay(lambda words: self.tenants.spawn("blue/a", words), 4343)
        successes = [way for way, answer in answers.items() if answer == "done"]
        report("write(MODIFY_QP)", len(answers) - 1, len(successes) + len(seen), len(worked))
        self.assertEqual((successes, seen), ([], []))
        for way, answer in answers.items():
            if way != "device":
                self.assertIn(answer, ("EACCES", "EOPNOTSUPP", "ESPIPE", "EINVAL"), way)
        self.assert_healthy()


if __name__ == "__main__":
    main()
