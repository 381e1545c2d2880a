# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses, and unmodified RDMA programs between their endpoints.

What the demo shows and what the lab tests assert is made of these steps.
"""

import json
import re
import shlex
from typing import NamedTuple

from . import fabric
from .errors import LabError
from .paths import BIN

QMASQ = BIN / "qmasq"
PROBE = BIN / "qmasq-lab-probe"

# Endpoint names and where they live; the same two addresses in every VPC.
SIDES = {"a": ("hostA", "10.0.0.1"), "b": ("hostB", "10.0.0.2")}


class Program(NamedTuple):
    """An unmodified program: the server's command line; the client adds the server's address."""

    name: str
    argv: list
    port: int
    proof: str  # a line of the client's output that only a finished run prints


def _pingpong(name):
    return Program(name, [name, "-d", "rxe0", "-g", "1", "-s", "1024", "-n", "100"], 18515,
                   r"^\d+ (bytes|iters) in .* (Mbit/sec|usec/iter)")


def _perftest(name, *more):
    return Program(name, [name, "-d", "rxe0", "-x", "1", "-F", "-s", "4096", *more], 18515,
                   r"^ *4096 +\d+ +[\d.]+")


PROGRAMS = [
    _pingpong("ibv_rc_pingpong"),
    _pingpong("ibv_uc_pingpong"),
    _pingpong("ibv_srq_pingpong"),
    _perftest("ib_write_bw", "-n", "200"),
    _perftest("ib_read_lat", "-n", "100"),
    _perftest("ib_send_bw", "-n", "200"),
]


def _each(option, values):
    """The option before each of the values."""
    return [word for value in values for word in (option, value)]


def two_sided(vpc):
    """A VPC with an endpoint on each side, as `Tenants.create_vpcs` takes it."""
    return vpc, ["10.0.0.0/24"], [(endpoint, host, [address]) for endpoint, (host, address) in SIDES.items()]


class Outcome(NamedTuple):
    """How one program went in one VPC."""

    program: str
    vpc: str
    passed: bool
    proof: str  # the line that proves it, or why not
    server: object
    client: object


class Tenants:
    """VPCs and endpoints on a lab, and programs run in them. The controller is on hostA."""

    def __init__(self, lab, program=QMASQ):
        self.lab = lab
        self.program = program  # the command line's path on the hosts

    # Administration

    def qmasq(self, *words, host="hostA", timeout=60):
        """Runs the command line on a host: Result."""
        return self.lab.exec(host, [self.program, *words], timeout=timeout)

    def must(self, *words, host="hostA", timeout=60):
        """As `qmasq`, for commands that must succeed: standard output."""
        return self.lab.check(host, [self.program, *words], timeout=timeout)

    def json(self, *words, host="hostA"):
        """Output of a command as a value."""
        return json.loads(self.must(*words, "-o", "json", host=host))

    def batch(self, commands, host="hostA"):
        """Commands that must succeed, with one start of the program, which takes most of the time: standard output."""
        lines = [shlex.join(str(word) for word in words) for words in commands]
        if not lines:
            return ""
        return self.lab.check(host, [self.program, "batch", "-"], timeout=60 + 10 * len(lines),
                              stdin="".join(line + "\n" for line in lines))

    def lists(self, *kinds):
        """What several `list` commands answer."""
        text = self.batch([[*kind, "list", "-o", "json"] for kind in kinds])
        decoder = json.JSONDecoder()
        answers = []
        while text.strip():
            answer, end = decoder.raw_decode(text.lstrip())
            answers.append(answer)
            text = text.lstrip()[end:]
        return answers

    def create_vpc(self, vpc):
        """A VPC with an endpoint on each side, known to all hosts when this returns."""
        self.create_vpcs([two_sided(vpc)])

    def create_vpcs(self, vpcs):
        """VPCs as (name, ranges, [(endpoint, host, addresses)]), known to all hosts when this returns."""
        commands = []
        for vpc, ranges, endpoints in vpcs:
            commands.append(["vpc", "create", vpc, *_each("--range", ranges)])
            commands += [["endpoint", "create", f"{vpc}/{name}", "--host", host, *_each("--address", addresses)]
                         for name, host, addresses in endpoints]
        if commands:
            # The last one's wait is for all before it: revisions are applied in order.
            commands[-1].append("--wait")
        self.batch(commands)

    def create_endpoint(self, name, host, *addresses):
        """An endpoint, known to all hosts when this returns."""
        self.must("endpoint", "create", name, "--host", host, *_each("--address", addresses), "--wait")

    def remove_all(self):
        """Deletes every endpoint, VPC and QoS policy, and gives NICs their own rates back."""
        endpoints, vpcs, policies, hosts = self.lists(["endpoint"], ["vpc"], ["qos", "policy"], ["host"])
        commands = [["endpoint", "delete", each["name"], "--force", "--wait"]
                    for each in endpoints.get("endpoints", [])]
        commands += [["vpc", "delete", each["name"]] for each in vpcs.get("vpcs", [])]
        self.batch(commands + self._without_limits(policies, hosts))

    def remove_limits(self):
        """Detaches and deletes every QoS policy, and gives NICs their own rates back."""
        endpoints, vpcs, policies, hosts = self.lists(["endpoint"], ["vpc"], ["qos", "policy"], ["host"])
        commands = [["qos", "detach", each["name"], "--wait"]
                    for each in [*vpcs.get("vpcs", []), *endpoints.get("endpoints", [])] if each.get("qosPolicy")]
        self.batch(commands + self._without_limits(policies, hosts))

    @staticmethod
    def _without_limits(policies, hosts):
        commands = [["qos", "policy", "delete", each["name"]] for each in policies.get("qosPolicies", [])]
        for host in hosts.get("hosts", []):
            commands += [["host", "update", host["name"], "--nic-rate", f"{rate['device']}=none"]
                         for rate in host.get("nicRates", [])]
        return commands

    def events(self, host, *words):
        """Events of a host's agent, oldest first."""
        text = self.must("events", *words, "-o", "json", host=host)
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    # Programs

    @staticmethod
    def host_of(endpoint):
        """Where the endpoint of a side lives: "blue/a" -> hostA."""
        return SIDES[endpoint.split("/")[1]][0]

    def run(self, endpoint, argv, host=None, timeout=60):
        """Runs a program in an endpoint to its end: Result."""
        return self.lab.exec(host or self.host_of(endpoint), self._words(endpoint, argv), timeout)

    def spawn(self, endpoint, argv, host=None):
        """Starts a program in an endpoint: Running."""
        return self.lab.spawn(host or self.host_of(endpoint), self._words(endpoint, argv))

    def _words(self, endpoint, argv):
        return [self.program, "run", "--endpoint", endpoint, "--", *argv]

    def await_listening(self, endpoint, port, timeout=30):
        """Waits until a program in the endpoint's namespace listens on a TCP port."""
        vpc, name = endpoint.split("/")
        separator = "." if "-" in vpc + name else "-"  # as the agent names it: vbond/bond/binder.h
        script = (f"end=$((SECONDS + {timeout})); while ((SECONDS < end)); do "
                  f"ip netns exec qm-{vpc}{separator}{name} ss -Hltn 'sport = :{port}' 2>/dev/null | "
                  "grep -q . && exit 0; sleep 0.1; done; exit 1")
        if self.lab.exec(self.host_of(endpoint), ["bash", "-c", script], timeout=timeout + 30).code != 0:
            raise LabError(f"{endpoint}: nothing listens on port {port} after {timeout} s")

    def run_pair(self, program, vpcs, timeout=90):
        """Runs a program between a (server) and b (client) of each VPC, all at the same time."""
        servers = {vpc: self.spawn(f"{vpc}/a", program.argv) for vpc in vpcs}
        try:
            for vpc in vpcs:
                self.await_listening(f"{vpc}/a", program.port)
            argv = [*program.argv, SIDES["a"][1]]
            clients = {vpc: self.spawn(f"{vpc}/b", argv) for vpc in vpcs}
            return [self._outcome(program, vpc, servers[vpc], clients[vpc], timeout)
                    for vpc in vpcs]
        except LabError as error:
            return [Outcome(program.name, vpc, False, str(error), None, None) for vpc in vpcs]
        finally:
            for server in servers.values():
                if server.running():
                    server.kill()

    @staticmethod
    def _outcome(program, vpc, server, client, timeout):
        try:
            ended = client.wait(timeout)
            served = server.wait(timeout)
        except LabError as error:
            return Outcome(program.name, vpc, False, str(error), None, None)
        found = re.search(program.proof + ".*", ended.out, re.MULTILINE)
        if ended.code != 0 or served.code != 0 or not found:
            return Outcome(program.name, vpc, False,
                           f"server: exit {served.code} {served.err.strip()}; "
                           f"client: exit {ended.code} {ended.err.strip()}", served, ended)
        return Outcome(program.name, vpc, True, found.group(0).strip(), served, ended)

    # Wire

    def vpc_gids(self, vpc):
        """What a VPC sends from on each host, by the host's name."""
        vni = self.json("vpc", "get", vpc)["vni"]
        return {host.name: fabric.vpc_gid(host, vni) for host in self.lab.hosts}

    def capture(self, host="hostA", expression="udp port 4791"):
        """Starts a capture of a host's underlay: Capture."""
        return Capture(self.lab, host, expression)


class Packet(NamedTuple):
    """Addresses of one captured packet, and the line that tcpdump printed."""

    source: str
    destination: str
    text: str


class Capture:
    """Packets on a host's underlay from now on."""

    def __init__(self, lab, host, expression):
        self._running = lab.spawn(
            host, ["tcpdump", "-i", "eth0", "-n", "-l", "-t", "-c", "20000", expression])
        self._running.wait_for("listening on", 30)

    def stop(self):
        """Ends the capture; returns its packets."""
        result = self._running.stop(30)
        packets = []
        for line in result.out.splitlines():
            found = re.match(r"IP6? (\S+?)\.?\d* > (\S+?)\.?\d*: (.*)", line)
            if found:
                packets.append(Packet(_host_part(line.split()[1]), _host_part(line.split()[3]), line))
        return packets


def _host_part(text):
    """"192.168.77.10.49152" or "fd77::10.4791:" without the port."""
    return text.rstrip(":").rsplit(".", 1)[0]
