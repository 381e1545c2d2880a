#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the dashboards' JSON from the Python beside this. `--check` writes nothing and exits 1 when
a file is not what would be written."""

import json
import sys
from pathlib import Path

import connections_security
import fleet_health
import tenants_qos

TARGET = Path(__file__).resolve().parents[1] / "qmasq-monitoring" / "dashboards"


def texts():
    """File name -> content."""
    return {f"{module.__name__.replace('_', '-')}.json": json.dumps(module.DASHBOARD, indent=2) + "\n"
            for module in (tenants_qos, connections_security, fleet_health)}


def main():
    """Writes or checks."""
    stale = [name for name, text in texts().items()
             if not (TARGET / name).exists() or (TARGET / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name} is not what helm/source says: run helm/source/generate.py")
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (TARGET / name).write_text(texts()[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
