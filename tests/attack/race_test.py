# SPDX-License-Identifier: Apache-2.0
"""Verbs whose arguments change between the agent's look and the kernel's.

The attacker has a verb that has to run in its own context (REG_MR) become another one. What
decides is seen from outside: the victim's memory, packets for the victim on the wire, queue pairs in
the kernel; and that no caller lives to see its changed verb return.
"""

import json

from attacktest import ATTACK, ROUNDS, AttackTest, Victim, Witness, main, report, report_control
from labkit.tenants import QMASQ

TALLY = "/tmp/attack-tally"
CONTROL_ROUNDS = 20
FEW_ROUNDS = 25
TRIES = 10
# Of all rounds, so many in a thousand; a round by fault always hits, and so always costs a restart.
SHARES = {"thread": 590, "process": 400, "fault": 10}
# Under the guard alone each hit costs the program, which takes seconds to start again under emulation. So these rounds
# are fewer, and most changes come late in a long call; of the others, so many in a hundred, each may fall anywhere.
# What was hit is in the count of those killed.
GUARDED_ROUNDS = min(ROUNDS, 1000)
AIM = 20
OTHER_VERBS = ("ud", "ah")


class RaceTest(AttackTest):
    """One race at a time."""

    def race(self, words, how, rounds, into="rtr", aim=100, seconds=1200):
        """The race in blue/a until it was tried so often: what `repeat` counted."""
        self.lab.check("hostA", ["rm", "-f", TALLY])
        race = [ATTACK, "race", *self.of_vpc("red"), *words, "--how", how, "--into", into, "--tally", TALLY,
                "--rounds", str(rounds), "--aim", str(aim), "--seconds", "120"]
        result = self.lab.exec("hostA", [ATTACK, "repeat", "--tally", TALLY, "--rounds", str(rounds), "--seconds",
                                         str(seconds), "--qpn", words[1], "--", QMASQ, "run", "--endpoint",
                                         "blue/a", "--", *race], timeout=seconds + 130)
        try:
            counts = json.loads(result.out.splitlines()[-1])
        except (ValueError, IndexError):
            return self.fail(result.out + result.err)
        print(f"{into} by {how}: {counts}", flush=True)
        self.assertGreaterEqual(counts["rounds"], rounds, result.err[-2000:])
        return counts

    def race_until(self, hit, words, how, rounds, into="rtr", aim=100, seconds=1200):
        """Races until hit(counts), since a change that falls anywhere may miss for long: the counts of the last.

        After the first one, a few rounds at a time, all of them aimed at the call as a whole.
        """
        for _ in range(TRIES):
            counts = self.race(words, how, rounds, into, aim, seconds)
            if hit(counts):
                break
            rounds, aim = min(rounds, FEW_ROUNDS), 100
        return counts

    def race_for_a_victim(self, rounds, race):
        """race(victim, how, rounds) in each way: no queue pair gets ready for the victim, nothing reaches it."""
        self.allow_userfaultfd()
        victim = Victim(self, seconds=7200)
        witness = Witness(self)
        try:
            for how, share in SHARES.items():
                race(victim, how, max(rounds * share // 1000, 3))
                self.assertFalse(victim.changed(0))
            ready = witness.count(victim.qpn)
            report("a queue pair in RTR with another tenant's peer", rounds, ready, "see Control")
            self.assertEqual(ready, 0)
        finally:
            witness.end()
            packets = victim.end()
        self.assertEqual([packet.text for packet in packets], [])
        self.assertFalse(victim.changed(0))
        self.assert_healthy()

    def allow_userfaultfd(self):
        """Lets tenants hold back page faults of the agent's reading, which the kernel's default forbids."""
        self.lab.check("hostA", ["sysctl", "-q", "-w", "vm.unprivileged_userfaultfd=1"])


class OtherAgent(RaceTest):
    """With an agent of other options."""

    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.restart_agent(cls, "hostA", *cls.OPTIONS)

    @classmethod
    def tearDownClass(cls):
        cls.restart_agent(cls, "hostA")
        super().tearDownClass()


class Control(OtherAgent):
    """Without the guard, and with arguments in the tenant's memory, each of them works."""

    OPTIONS = ("--guard", "off", "--seal", "off")

    def test_rtr_to_another_tenants_peer(self):
        self.allow_userfaultfd()
        for how in SHARES:
            with self.subTest(how=how):
                victim = Victim(self)
                witness = Witness(self)
                try:
                    # The race decides when it is won; that it can be is what is shown.
                    counts = self.race_until(lambda counts: counts["used"], victim.words, how, CONTROL_ROUNDS,
                                             seconds=120)
                    changed = victim.changed()
                    ready = witness.count(victim.qpn)
                finally:
                    witness.end()
                    packets = victim.end()
                report_control(f"RTR by {how}", counts["rounds"], counts["returned"])
                self.assertGreaterEqual(ready, counts["returned"], "the driver was told")
                self.assertGreater(counts["returned"], 0, counts)
                self.assertGreater(counts["used"], 0, counts)
                self.assertTrue(changed, counts)
                self.assertGreater(len(packets), 0)

    def test_other_verbs(self):
        for into in ("gids", *OTHER_VERBS):
            with self.subTest(into=into):
                goal = "returned" if into == "ah" else "used"
                counts = self.race_until(lambda counts, goal=goal: counts[goal], ["--qpn", "4242"],
                                         "process" if into == "gids" else "thread", 80, into, seconds=60)
                report_control(into, counts["rounds"], counts["returned"])
                self.assertGreater(counts["returned"], 0, counts)
                if into != "ah":
                    self.assertGreater(counts["used"], 0, counts)


class Guarded(OtherAgent):
    """With the guard alone nobody gets anywhere but to read, and everybody who tries is ended."""

    OPTIONS = ("--seal", "off")

    def assert_ended(self, attack, counts):
        """No caller came back, whoever was left could not use what it had done, and nothing stays."""
        report(attack, counts["rounds"], counts["returned"] + counts["used"] + counts["wrote"], "see Control")
        self.assertEqual((counts["returned"], counts["used"], counts["wrote"]), (0, 0, 0), counts)
        self.assertGreater(counts["killed"], 0, "the guard was never needed: no change hit")
        self.assertLess(counts["longest_ms"], 3000, "a queue pair stayed with the victim for its peer")

    def race_until_hit(self, attack, words, how, rounds, into="rtr", aim=100):
        """A race in which somebody is ended, and nobody gets anywhere."""
        def hit(counts):
            self.assertEqual((counts["returned"], counts["used"], counts["wrote"]), (0, 0, 0), counts)
            return counts["killed"]
        self.assert_ended(attack, self.race_until(hit, words, how, rounds, into, aim, seconds=3000))

    def test_rtr_to_another_tenants_peer(self):
        self.assertEqual(self.agent("hostA")["guard"], "on")
        self.race_for_a_victim(
            GUARDED_ROUNDS,
            lambda victim, how, rounds: self.race_until_hit(f"RTR by {how}", victim.words, how, rounds,
                                                            aim=100 if how == "fault" else AIM))
        events = self.tenants.events("hostA", "--type", "guard-violation")
        self.assertTrue(events)

    def test_other_verbs(self):
        for into in OTHER_VERBS:
            with self.subTest(into=into):
                self.race_until_hit(into, ["--qpn", "4242"], "thread", 25, into)
        self.assert_healthy()


class Sealed(RaceTest):
    """With sealed arguments nothing but what was checked ever runs: the guard has nothing to do."""

    def assert_nothing(self, attack, counts):
        """No change hit."""
        report(attack, counts["rounds"], counts["returned"] + counts["used"] + counts["wrote"], "see Control")
        self.assertEqual((counts["returned"], counts["used"], counts["wrote"], counts["killed"]), (0, 0, 0, 0), counts)

    def setUp(self):
        super().setUp()
        self.assertIn("sealed_arguments", self.agent("hostA")["features"])

    def test_rtr_to_another_tenants_peer(self):
        def race(victim, how, rounds):
            self.assert_nothing(f"RTR by {how}", self.race(victim.words, how, rounds, seconds=3000))
        self.race_for_a_victim(ROUNDS, race)

    def test_other_verbs(self):
        for into in OTHER_VERBS:
            with self.subTest(into=into):
                self.assert_nothing(into, self.race(["--qpn", "4242"], "thread", ROUNDS // 10, into, seconds=600))

    # What the guard alone cannot keep from being told (docs/adr/0019).
    def test_reading_addresses(self):
        for how in ("process", "thread"):
            with self.subTest(how=how):
                counts = self.race(["--qpn", "4242"], how, ROUNDS, "gids", seconds=1200)
                self.assert_nothing(f"the host's own GIDs by {how}", counts)
        self.assert_healthy()


if __name__ == "__main__":
    main()
