# SPDX-License-Identifier: Apache-2.0
"""When the tests of a file run once more: a machine at fault, and nothing else. Without a lab."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import aftermath
from labkit import hang
from labkit.checkup import Checkup

WELL = Checkup(True, False, "")
MACHINE = Checkup(False, True, "hostB: QEMU has ended\n")
AGENT = Checkup(False, False, "vbond has ended\n")


def outcome(answers, failures):
    """Runs three tests, of which the middle one fails in the first `failures` runs, in a lab that gives these answers
    when it is looked at: exit code, tests that ran, how often the lab came up anew, output."""
    ran = []

    class Some(unittest.TestCase):
        """Three tests."""

        def test_1(self):
            ran.append(1)

        def test_2(self):
            ran.append(2)
            if ran.count(2) <= failures:
                self.fail("as told")

        def test_3(self):
            ran.append(3)

    out = io.StringIO()
    suite = lambda *_: unittest.defaultTestLoader.loadTestsFromTestCase(Some)  # noqa: E731
    with (mock.patch("aftermath.Lab") as lab, mock.patch("aftermath.checkup.look", side_effect=answers),
          mock.patch("unittest.loader.TestLoader.loadTestsFromModule", suite), mock.patch("sys.argv", ["tests"]),
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(out)):
        code = aftermath.run("some")
        return code, ran, lab.attach.return_value.up.call_count, out.getvalue()


class Aftermath(unittest.TestCase):
    """Exit code, what ran, and what was said."""

    def test_nothing_fails(self):
        self.assertEqual(outcome([], 0)[:3], (0, [1, 2, 3], 0))

    def test_failure_in_a_lab_that_is_well(self):
        self.assertEqual(outcome([WELL], 1)[:3], (1, [1, 2, 3], 0))

    def test_agent_that_ended_is_a_failure_and_the_lab_comes_up_anew(self):
        code, ran, ups, out = outcome([AGENT], 1)
        self.assertEqual((code, ran, ups), (1, [1, 2], 1))
        self.assertIn("vbond has ended", out)

    def test_machine_that_failed_gives_one_more_run(self):
        code, ran, ups, out = outcome([MACHINE], 1)
        self.assertEqual((code, ran, ups), (0, [1, 2, 1, 2, 3], 1))
        self.assertIn("hostB: QEMU has ended", out)
        self.assertIn("run once more", out)

    def test_failure_in_the_second_run_is_one(self):
        self.assertEqual(outcome([MACHINE, WELL], 2)[:3], (1, [1, 2, 1, 2, 3], 1))

    def test_second_machine_is_not_forgiven(self):
        self.assertEqual(outcome([MACHINE, MACHINE], 2)[:3], (1, [1, 2, 1, 2], 2))


class Faults(unittest.TestCase):
    """What a console tells."""

    def faults(self, console):
        """(the kernel's, the emulator's) by what a host's console says."""
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
            file.write(console)
            file.flush()
            host = mock.Mock(console=Path(file.name))
            return hang.kernel_fault(host), hang.emulator_fault(host)

    def test_of_whom(self):
        self.assertEqual(self.faults("lab: host is up at 1.5\n"), (False, False))
        self.assertEqual(self.faults("[    9.1] BUG: unable to handle page fault\n"), (True, False))
        self.assertEqual(self.faults("[    9.1] Kernel panic - not syncing: Fatal exception\n"), (True, False))
        self.assertEqual(self.faults("[    3.5] int3: 0000 [#1] PREEMPT SMP NOPTI\n"
                                     "[    3.6] Kernel panic - not syncing: Fatal exception\n"), (False, True))


if __name__ == "__main__":
    unittest.main()
