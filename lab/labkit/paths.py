# SPDX-License-Identifier: Apache-2.0
"""Where things lie in the repository and its build folder."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
GUEST = REPO / "lab" / "guest"
LABS = REPO / "build" / "lab"
KERNELS = LABS / "kernel"
# The programs that run inside the lab, and the lab's own.
PRESET = os.environ.get("QMASQ_PRESET", "release")
BIN = REPO / "build" / PRESET / "bin"
EXEC = BIN / "qmasq-lab-exec"
WIRE = BIN / "qmasq-lab-wire"
