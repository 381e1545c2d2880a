#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command behind ./x lab: up, down, status. (exec is qmasq-lab-exec itself.)"""

import argparse
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
from labkit import Lab, LabError


def say(text):
    """One line of progress."""
    print(f"lab: {text}", flush=True)


def up(options):
    """Boots a lab."""
    begun = time.monotonic()
    lab = Lab(options.name, options.hosts, options.qmasq, options.memory, options.cpus, options.mtu,
              say=say)
    lab.up()
    name = "" if options.name == "default" else f" --name {options.name}"
    say(f"'{options.name}' is up after {time.monotonic() - begun:.1f} s; "
        f"try ./x lab exec{name} hostA -t -- bash")
    return 0


def down(options):
    """Ends a lab."""
    try:
        lab = Lab.attach(options.name)
    except LabError:
        lab = Lab(options.name)  # state without a record: still to be removed
    found = lab.down()
    say(f"'{options.name}' is down" if found else f"no lab '{options.name}'")
    return 0


def status(options):
    """Shows labs and their hosts; exit code 1 when a shown lab is not healthy."""
    names = [options.name] if options.name else Lab.names()
    if not names:
        print("no labs: ./x lab up")
    healthy = True
    for name in names:
        lab = Lab.attach(name)
        wire = lab.wire.pid()
        print(f"lab {name}: switch {f'pid {wire}' if wire else 'DEAD'}, "
              f"folder {lab.folder}")
        healthy = healthy and wire is not None
        for host in lab.hosts:
            pid = host.process.pid()
            state = "dead"
            if pid is not None:
                state = _health(lab, host)
            healthy = healthy and state.startswith("up")
            uptime = host.uptime()
            age = f"{uptime:.0f} s" if uptime is not None else "-"
            print(f"  {host.name}  {host.ipv4:15} {host.ipv6:10} pid {pid or '-':<8} {age:>8}  "
                  f"{state}")
    return 0 if healthy else 1


def _health(lab, host):
    """One word on a host that runs, and its daemons."""
    script = "rdma link show rxe0/1 | grep -q 'state ACTIVE' && echo rxe0"
    try:
        words = lab.exec(host.name, ["bash", "-c", script], timeout=10).out.split()
        words += [name if daemon.end is None else f"{name}:DEAD"
                  for name, daemon in lab.daemons(host.name, timeout=10).items()]
    except LabError as error:
        return f"no answer ({str(error).splitlines()[0]})"
    state = "up" if "rxe0" in words and not any(word.endswith("DEAD") for word in words) else "sick"
    return f"{state}: {' '.join(words)}"


def main():
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="./x lab", description="Virtual hosts with Soft-RoCE NICs.")
    commands = parser.add_subparsers(required=True, metavar="up|exec|down|status")
    command = commands.add_parser("up", help="boot a lab")
    command.add_argument("--name", default="default")
    command.add_argument("--hosts", type=int, default=2, metavar="N")
    command.add_argument("--qmasq", action=argparse.BooleanOptionalAction, default=True,
                         help="start controller and agents (the default)")
    command.add_argument("--memory", type=int, default=1024, metavar="MIB", help="of each host")
    command.add_argument("--cpus", type=int, default=2, metavar="N", help="of each host")
    command.add_argument("--mtu", type=int, default=9000, help="of the hosts' eth0")
    command.set_defaults(run=up)
    command = commands.add_parser("exec", help="run a command on a host: HOST [-i] [-t] -- CMD")
    command = commands.add_parser("down", help="end a lab and remove its state")
    command.add_argument("--name", default="default")
    command.set_defaults(run=down)
    command = commands.add_parser("status", help="show labs, hosts and their health")
    command.add_argument("--name")
    command.set_defaults(run=status)
    options = parser.parse_args()
    # An interrupted or terminated `up` leaves nothing running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return options.run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
