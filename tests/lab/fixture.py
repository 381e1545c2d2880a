# SPDX-License-Identifier: Apache-2.0
"""Brings the lab of the tests up, or down. What a killed run left is taken down first."""

import sys

import labtest
from labkit import Lab


def main():
    """`up` or `down`."""
    lab = Lab(labtest.LAB, say=lambda text: print(text, flush=True))
    lab.down()
    if sys.argv[1:] == ["up"]:
        lab.up()


if __name__ == "__main__":
    main()
