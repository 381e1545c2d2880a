# SPDX-License-Identifier: Apache-2.0
"""What comes after a test that failed in the shared lab: was it the lab?

A lab that is not well is told of at once, while what hangs still hangs, and brought up anew for the tests after
this one. When a machine hangs or ends and its kernel does not say why, that is the emulator's doing and says nothing
of what is tested: then, and only then, the file's tests run once more, which is said in the output.
"""

import unittest

from labkit import Lab, LabError, checkup


class _Result(unittest.TextTestResult):
    """Looks at the lab at the first failures, and stops when it is not well."""

    lab = ""  # set before the run
    found = None

    def addError(self, test, err):
        super().addError(test, err)
        self._look()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._look()

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._look()

    def _look(self):
        if self.found is not None and not self.found.well:
            return
        try:
            self.found = checkup.look(Lab.attach(self.lab))
        except LabError as error:
            self.found = checkup.Checkup(False, False, str(error))
        if not self.found.well:
            self.stream.writeln(f"\nthe lab is not well:\n{self.found.text}")
            self.stop()


def _renew(name):
    lab = Lab.attach(name, say=lambda text: print(text, flush=True))
    lab.down()
    lab.up()


def run(name):
    """Runs the calling file's tests in the lab of that name: exit code."""
    _Result.lab = name
    runner = unittest.TextTestRunner(verbosity=2, resultclass=_Result)
    for last in (False, True):
        result = unittest.main(testRunner=runner, exit=False).result
        if result.wasSuccessful():
            return 0
        if result.found is None or result.found.well:
            break
        print("bringing the lab up anew", flush=True)
        _renew(name)
        if last or not result.found.machine:
            break
        print("a machine failed, not what is tested: the tests run once more", flush=True)
    return 1
