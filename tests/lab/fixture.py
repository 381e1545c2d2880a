# SPDX-License-Identifier: Apache-2.0
"""Brings the lab of the tests up, or down. What a killed run left is taken down first.

    fixture.py up [PROCESSORS] | down
"""

import sys

import labtest
from labkit import Lab


def main():
    """The command line."""
    command, *cpus = sys.argv[1:]
    lab = Lab(labtest.LAB, cpus=int(cpus[0]) if cpus else None, say=lambda text: print(text, flush=True))
    lab.down()
    if command == "up":
        lab.up()


if __name__ == "__main__":
    main()
