# SPDX-License-Identifier: Apache-2.0
"""One tenant's program and another's on the same host; and filters of one's own on top of the agent's."""

from attacktest import ATTACK, AttackTest, main, report
from labkit.tenants import QMASQ


class Neighbours(AttackTest):
    """red/a is at work; blue/a wants its descriptors and its memory."""

    def attempt(self, victim_user, attacker_user):
        """Answers of an attacker of one user to a victim of another."""
        def run(endpoint, user):
            return [QMASQ, "run", "--endpoint", endpoint, *(["--user", user] if user else []), "--"]
        held = self.lab.spawn("hostA", [*run("red/a", victim_user), ATTACK, "send", "--path",
                                        f"/tmp/attack-{victim_user or 'root'}", "--seconds", "60"])
        try:
            found = held.wait_for(r'^\{"pid":(\d+),"fd":(\d+)')
            return self.answer(self.lab.exec("hostA", [*run("blue/a", attacker_user), ATTACK, "neighbour", "--pid",
                                                       found.group(1), "--fd", found.group(2)]), ["neighbour"])
        finally:
            held.kill()

    def test_other_users(self):
        """Each tenant under a user of its own, and no help from Yama."""
        before = self.lab.check("hostA", ["sysctl", "-n", "kernel.yama.ptrace_scope"]).strip()
        self.lab.check("hostA", ["sysctl", "-q", "-w", "kernel.yama.ptrace_scope=0"])
        try:
            control = self.attempt("", "")
            answers = self.attempt("1234", "1235")
            of_root = self.attempt("", "1235")
        finally:
            self.lab.check("hostA", ["sysctl", "-q", "-w", f"kernel.yama.ptrace_scope={before}"])
        worked = {way for way, answer in control.items() if answer == "done"} - {"pidfd_open"}
        self.assertLessEqual({"pidfd_getfd", "ptrace", "/proc/PID/mem", "process_vm_readv"}, worked, control)
        successes = [way for each in (answers, of_root) for way, answer in each.items()
                     if answer == "done" and way != "pidfd_open"]
        report("another tenant's process, as another user", 2 * (len(answers) - 1), len(successes), len(worked))
        self.assertEqual(successes, [])

    def test_same_user_under_yama(self):
        """Two tenants that are both root: what Debian's default leaves open, and what it does not."""
        before = self.lab.check("hostA", ["sysctl", "-n", "kernel.yama.ptrace_scope"]).strip()
        self.lab.check("hostA", ["sysctl", "-q", "-w", "kernel.yama.ptrace_scope=1"])
        try:
            answers = self.attempt("", "")
        finally:
            self.lab.check("hostA", ["sysctl", "-q", "-w", f"kernel.yama.ptrace_scope={before}"])
        for way in ("pidfd_getfd", "ptrace", "/proc/PID/mem", "process_vm_readv"):
            self.assertNotEqual(answers[way], "done", answers)


class Stacking(AttackTest):
    """Filters can only take away."""

    def test_filters_on_top(self):
        control = self.native("stacking", *self.physical(), "--qpn", "4242")
        answers = self.tenant("blue/a", "stacking", *self.physical(), "--qpn", "4242")
        self.assertEqual(control["RTR"], "done", control)
        self.assertEqual(answers["filter that allows all"], "done", answers)
        successes = [way for way in ("listener of one's own", "PTRACE_O_SUSPEND_SECCOMP", "prctl(PR_SET_SECCOMP, 0)",
                                     "RTR") if answers[way] == "done"]
        report("filters on top of the filter", 4, len(successes), int(control["RTR"] == "done"))
        self.assertEqual(successes, [], answers)
        self.assertEqual(answers["RTR"], "EHOSTUNREACH")
        self.assert_healthy()


if __name__ == "__main__":
    main()
