# SPDX-License-Identifier: Apache-2.0
"""Verbs whose arguments change between the agent's look and the kernel's.

The attacker has a verb that has to run in its own context (REG_MR) become another one. What
decides is seen from outside: the victim's memory, packets for the victim on the wire, queue pairs in
the kernel; and that no caller lives to see its changed verb return.
"""

import json

from attacktest import ATTACK, ROUNDS, AttackTest, Victim, main, report
from labkit.tenants import QMASQ

TALLY = "/tmp/attack-tally"
CONTROL_ROUNDS = 60
# Of all rounds, so many in a hundred; a round by fault always hits, and so always costs a restart.
SHARES = {"thread": 58, "process": 40, "fault": 2}


class RaceTest(AttackTest):
    """One race at a time."""

    def race(self, victim, how, rounds, into="rtr", aim=100, seconds=600):
        """The race in blue/a until it was tried so often: what `repeat` counted."""
        self.lab.check("hostA", ["rm", "-f", TALLY])
        words = [ATTACK, "race", *self.physical(), *victim.words, "--how", how, "--into", into, "--tally", TALLY,
                 "--rounds", str(rounds), "--aim", str(aim), "--seconds", "120"]
        result = self.lab.exec("hostA", [ATTACK, "repeat", "--tally", TALLY, "--rounds", str(rounds), "--seconds",
                                         str(seconds), "--qpn", str(victim.qpn), "--", QMASQ, "run", "--endpoint",
                                         "blue/a", "--", *words], timeout=seconds + 130)
        try:
            return json.loads(result.out.splitlines()[-1])
        except (ValueError, IndexError):
            return self.fail(result.out + result.err)

    def allow_userfaultfd(self, allowed):
        """Page faults of the agent's reading held back by tenants: off where nobody turned it on."""
        self.lab.check("hostA", ["sysctl", "-q", "-w", f"vm.unprivileged_userfaultfd={int(allowed)}"])


class Control(RaceTest):
    """Without the guard each of them works."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.restart_agent(cls, "hostA", "--guard", "off")

    def test_rtr_to_another_tenants_peer(self):
        self.allow_userfaultfd(True)
        for how in SHARES:
            with self.subTest(how=how):
                victim = Victim(self)
                try:
                    counts = self.race(victim, how, CONTROL_ROUNDS, seconds=120)
                    changed = victim.changed()
                finally:
                    packets = victim.end()
                print(how, counts, f"memory changed: {changed}, {len(packets)} packets")
                self.assertGreater(counts["returned"], 0, counts)
                self.assertGreater(counts["used"], 0, counts)
                self.assertTrue(changed, counts)
                self.assertGreater(len(packets), 0)


if __name__ == "__main__":
    main()
