# SPDX-License-Identifier: Apache-2.0
"""What the benches in the lab share: the machine's name and tables."""

import os
import platform
import re
import statistics
from pathlib import Path


def machine():
    """One line about the machine, for under a table."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = found.group(1) if found else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def percentile(samples, percent):
    """Nearest-rank percentile of a list of numbers."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def median(samples):
    """Median, or 0 of nothing."""
    return statistics.median(samples) if samples else 0.0


def table(header, rows):
    """Aligned text; the first column to the left, numbers to the right."""
    cells = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        first, *rest = row
        lines.append("  ".join([first.ljust(widths[0]),
                                *[cell.rjust(width) for cell, width in zip(rest, widths[1:])]]))
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
