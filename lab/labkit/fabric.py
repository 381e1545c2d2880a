# SPDX-License-Identifier: Apache-2.0
"""Starts qmasq in a lab: the controller on hostA, an agent on every host."""

import concurrent.futures
import ipaddress
import json
import shutil
import subprocess
import time

from .errors import LabError
from .paths import BIN

PROGRAMS = ("qmasq", "qmasq-controller", "qmasq-keeper", "qmasq-vbond")
TEST_PROGRAMS = ("qmasq-lab-probe", "qmasq-lab-attack")
MEMORY = "/run/qmasq-programs"
# Where VPCs have their physical GIDs; all hosts are on one Ethernet.
VPC_GIDS = "fd77:0:0:1::/64"
KEEPER_SOCKET = "/run/qmasq/keeper.sock"
SYNC_SECONDS = 60
CONTROLLER_SECONDS = 20

DATA = "/var/lib/qmasq"
CERTIFICATES = "/var/lib/qmasq-vbond/tls"


def check_built():
    """Raises when a program that the lab starts is not there."""
    missing = [name for name in PROGRAMS if not (BIN / name).exists()]
    if missing:
        raise LabError(
            f"not built: {', '.join(missing)}. Run ./x build, or bring the lab up with --no-qmasq"
        )


def take_programs(lab):
    """Gives each host the programs of the build as it is now, in memory and without debug information.

    From the repository's share each start would read megabytes again, which takes an emulated host half of the time
    that a command takes.
    """
    for name in [path.name for path in map(BIN.joinpath, (*PROGRAMS, *TEST_PROGRAMS)) if path.exists()]:
        first = lab.hosts[0].folder / name
        subprocess.run(["strip", "--strip-debug", "-o", first, BIN / name], check=True)
        for host in lab.hosts[1:]:
            shutil.copy2(first, host.folder / name)
        for host in lab.hosts:
            lab.check(host.name, ["bash", "-ec", f"""
                mkdir -p {MEMORY}
                cp /lab/{name} {MEMORY}/{name}
                mount --bind {MEMORY}/{name} {BIN / name}"""])
            (host.folder / name).unlink()


def address(lab):
    """Where the controller serves TLS: "ADDRESS:PORT"."""
    return f"{lab.hosts[0].ipv4}:7443"


def start_controller(lab):
    """Starts the controller on the first host, with a CA made for it the first time."""
    first = lab.hosts[0]
    lab.check(first.name, ["bash", "-c", f"""
        [[ -e {DATA}/tls/ca.pem ]] && exit
        exec {BIN}/qmasq-controller init --data-dir {DATA} --address {first.ipv4} >/dev/null"""])
    lab.daemon(first.name, "controller", [
        BIN / "qmasq-controller", "--data-dir", DATA, "--socket", "/run/qmasq/controller.sock",
        "--listen", address(lab), "--metrics", "127.0.0.1:9477",
    ])


def make_token(lab, name):
    """A token with which the agent of a host may join, once the controller answers."""
    until = time.monotonic() + CONTROLLER_SECONDS
    while True:
        result = lab.exec(lab.hosts[0].name, [BIN / "qmasq", "host", "token", name])
        if result.code == 0:
            return result.out
        if result.code != 3 or time.monotonic() > until:
            raise LabError(f"no token for {name}: {result.err}\n"
                           + lab.log_tail(lab.hosts[0].name, "controller"))
        time.sleep(0.1)


def join(lab, name):
    """Gives a host its certificate. The token goes over standard input and stays nowhere."""
    lab.check(name, [BIN / "qmasq-vbond", "join", "--controller", address(lab),
                     "--token-file", "-", "--certificates", CERTIFICATES],
              stdin=make_token(lab, name))


def start_keeper(lab, name):
    """Starts the keeper of one host, which holds what tenants have open while agents come and go."""
    running = lab.daemon(name, "keeper", [BIN / "qmasq-keeper", "--socket", KEEPER_SOCKET])
    lab.check(name, ["bash", "-c", f"for ((i = 0; i < 100; i++)); do [ -S {KEEPER_SOCKET} ] && "
                                   "exit 0; sleep 0.1; done; exit 1"])
    return running


def vpc_gid(host, vni):
    """What a VPC sends from on a host, as tcpdump prints it (vbond/nic/vpc_gid.h)."""
    prefix = int(ipaddress.IPv6Network(VPC_GIDS).network_address)
    return str(ipaddress.IPv6Address(prefix | int(ipaddress.IPv4Address(host.ipv4)) << 32 | vni))


def start_agent(lab, name, *more):
    """Starts the agent of one host, with further options if given. It joins the first time."""
    if lab.exec(name, ["test", "-e", f"{CERTIFICATES}/identity.pem"]).code != 0:
        join(lab, name)
    lab.daemon(name, "vbond", [
        BIN / "qmasq-vbond", "--host-name", name, "--controller", address(lab),
        "--certificates", CERTIFICATES,
        "--underlay-device", "eth0", "--nic", "rxe0", "--metrics", "127.0.0.1:9478",
        "--keeper", KEEPER_SOCKET, "--vpc-gids", VPC_GIDS,
        *more,
    ])


def start(lab, say):
    """Controller, agents, and the wait until every agent is in sync."""
    take_programs(lab)
    say("starting qmasq-controller on " + lab.hosts[0].name)
    start_controller(lab)
    for host in lab.hosts:
        say("starting qmasq-keeper and qmasq-vbond on " + host.name)
        start_keeper(lab, host.name)
        start_agent(lab, host.name)
    wait_in_sync(lab)
    say("all agents are in sync")


def wait_in_sync(lab, timeout=SYNC_SECONDS):
    """Waits until the controller and the agents themselves say that every host is in sync.

    Each may be behind the other: a controller takes a moment to notice that an agent was killed.
    """
    until = time.monotonic() + timeout
    wanted = {host.name for host in lab.hosts}
    while True:
        # All at once: under emulation most of the time is the start of the program.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            agents = {name: pool.submit(agent_in_sync, lab, name) for name in wanted}
            listing = pool.submit(lab.exec, lab.hosts[0].name,
                                  [BIN / "qmasq", "host", "list", "-o", "json"])
        result = listing.result()
        there = _in_sync(result.out) if result.code == 0 else set()
        missing = {name for name in wanted if name not in there or not agents[name].result()}
        if not missing:
            return
        for host in lab.hosts:
            for daemon in ("controller", "vbond") if host is lab.hosts[0] else ("vbond",):
                if not lab.daemon_alive(host.name, daemon):
                    tail = lab.log_tail(host.name, daemon)
                    raise LabError(f"{daemon} on {host.name} ended\n{tail}")
        if time.monotonic() > until:
            logs = "\n".join(lab.log_tail(host.name, "vbond") for host in lab.hosts)
            raise LabError(
                f"not in sync after {timeout} s: {', '.join(sorted(missing))}\n"
                f"{result.out}{result.err}\n{logs}"
            )
        time.sleep(0.2)


def agent_in_sync(lab, name, timeout=60):
    """Whether the agent of a host says that it is in sync. No word from it is a no."""
    try:
        result = lab.exec(name, [BIN / "qmasq", "agent", "-o", "json"], timeout)
    except LabError:
        return False
    return result.code == 0 and json.loads(result.out).get("inSync", False)


def _in_sync(text):
    """Names of the hosts whose agents are online and have applied the newest revision.

    `text` is what `qmasq host list -o json` prints: protobuf's JSON, 64-bit numbers as strings.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        return set()
    found = set()
    for host in answer.get("hosts", []) if isinstance(answer, dict) else answer:
        status = host.get("status", {})
        applied = int(status.get("appliedRevision", 0))
        if status.get("state") == "ONLINE" and applied >= int(status.get("currentRevision", 0)):
            found.add(host["name"].removeprefix("hosts/"))
    return found
