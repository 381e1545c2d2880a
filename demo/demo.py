#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The guided demonstration behind ./x demo: two hosts, two tenants with the same addresses."""

import ipaddress
import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
# pylint: disable=wrong-import-position
from labkit import Lab, LabError
from labkit.tenants import PROBE, PROGRAMS, SIDES, Program, Tenants

TOTAL_STEPS = 10


class Demo:
    """Counts what passed and failed, and narrates."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self._step = 0
        self._begun = time.monotonic()

    def step(self, title, why):
        """Announces a step."""
        self._step += 1
        seconds = time.monotonic() - self._begun
        self.say(f"\n[{self._step}/{TOTAL_STEPS}] {title}   ({seconds:.0f} s)")
        self.say(f"      {why}")

    @staticmethod
    def say(text=""):
        """One line or block of text, at once."""
        print(text, flush=True)

    def show(self, text):
        """Output of a program, indented."""
        for line in text.rstrip().splitlines():
            self.say("        " + line)

    def check(self, holds, claim, otherwise=""):
        """Counts a claim."""
        if holds:
            self.passed += 1
            self.say(f"   ok   {claim}")
        else:
            self.failed += 1
            self.say(f"   FAIL {claim}")
            self.show(otherwise)
        return holds


def make_tenants(demo, tenants):
    """Two VPCs with one address range, two endpoints each, on two hosts."""
    demo.step("Two tenants, one address range",
              "VPCs blue and red both use 10.0.0.0/24, and both have 10.0.0.1 on hostA and 10.0.0.2 on hostB.")
    for vpc in ("blue", "red"):
        tenants.create_vpc(vpc)
    listing = tenants.json("endpoint", "list")["endpoints"]
    for words in (("vpc", "list"), ("endpoint", "list"), ("host", "list")):
        demo.say(f"      $ qmasq {' '.join(words)}")
        demo.show(tenants.must(*words))
    addresses = sorted(endpoint["addresses"][0] for endpoint in listing)
    demo.check(addresses == ["10.0.0.1"] * 2 + ["10.0.0.2"] * 2,
               "both tenants have the same two addresses", str(addresses))


def run_programs(demo, tenants):
    """Every program in both VPCs at the same time."""
    demo.step("Unmodified RDMA programs in both VPCs at the same time",
              "Server at 10.0.0.1, client at 10.0.0.2; QP numbers are exchanged over TCP between those addresses.")
    outcomes = []
    for program in PROGRAMS:
        demo.say(f"      $ qmasq run --endpoint VPC/b -- {' '.join(program.argv)} {SIDES['a'][1]}")
        for outcome in tenants.run_pair(program, ["blue", "red"]):
            demo.check(outcome.passed, f"{program.name:17} in {outcome.vpc:4}  {outcome.proof}"
                       if outcome.passed else f"{program.name} in {outcome.vpc}", outcome.proof)
            outcomes.append(outcome)
    return outcomes


def spell(gid):
    """A GID as ibv_rc_pingpong spells it; perftest prints sixteen decimal bytes."""
    parts = gid.split(":")
    if len(parts) != 16:
        return gid
    address = ipaddress.IPv6Address(bytes(int(part) for part in parts))
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def show_sides(demo, tenants, outcomes, packets):
    """What the tenant saw beside what went over the wire."""
    demo.step("What the tenant saw, and what went over the wire",
              "Left: GIDs that the programs printed. Right: a capture of RoCE v2 (UDP 4791) on hostA's NIC.")
    seen = set()
    for outcome in outcomes:
        if outcome.client is not None:
            seen |= set(re.findall(r"GID:? +(\S+)", outcome.client.out + outcome.server.out))
    seen = {spell(text) for text in seen if not text.startswith("index")}
    wire = {(packet.source, packet.destination) for packet in packets}
    demo.say("        tenants saw                                    on the wire")
    left = sorted(seen)
    right = sorted(f"{source} -> {destination}" for source, destination in wire)
    for i in range(max(len(left), len(right))):
        demo.say(f"        {left[i] if i < len(left) else '':45}  {right[i] if i < len(right) else ''}")
    demo.show("\n".join(packet.text for packet in packets[:4]))
    addresses = {address for pair in wire for address in pair}
    physical = {gid for vpc in ("blue", "red") for gid in tenants.vpc_gids(vpc).values()}
    demo.check(bool(packets) and addresses == physical,
               f"{len(packets)} RoCE v2 packets captured, physical addresses only, each VPC's own", str(addresses))
    virtual = {"::ffff:10.0.0.1", "::ffff:10.0.0.2"}
    demo.check(virtual <= seen and not any(address in gid for gid in seen for address in physical),
               "programs saw virtual GIDs only", str(seen))


def show_connections(demo, tenants):
    """The table of connections while one is held."""
    demo.step("The operator's view", "`qmasq conn list` shows both sides of each queue pair of a host.")
    held = tenants.spawn("blue/a", [PROBE, "connect", "--gid", "10.0.0.2", "--qpn", "17", "--hold", "60"])
    try:
        held.wait_for(r'"RTR":"0"', 30)
        demo.say("      $ qmasq conn list")
        demo.show(tenants.must("conn", "list"))
        connections = tenants.json("conn", "list").get("connections", [])
        demo.check(any("10.0.0.2" in tenants_text(c) or c.get("peerEndpoint") == "vpcs/blue/endpoints/b"
                       for c in connections),
                   "the connection to vpcs/blue/endpoints/b is listed", json.dumps(connections))
    finally:
        held.kill()


def tenants_text(connection):
    """All values of a connection as text."""
    return " ".join(str(value) for value in connection.values())


def try_to_cross(demo, tenants):
    """An address that only red has cannot be reached from blue."""
    demo.step("Each tenant only to itself",
              "10.0.0.3 exists in red alone. A program of blue points a queue pair straight at it.")
    tenants.create_endpoint("red/c", "hostB", "10.0.0.3")
    argv = [PROBE, "connect", "--gid", "10.0.0.3", "--qpn", "17"]
    red = tenants.run("red/a", argv)
    demo.check('"RTR":"0"' in red.out, "red/a connects to 10.0.0.3", red.out + red.err)
    blue = tenants.run("blue/a", argv)
    demo.show(blue.out)
    demo.check('"RTR":"EHOSTUNREACH"' in blue.out, "blue/a gets EHOSTUNREACH", blue.out + blue.err)
    events = tenants.events("hostA", "--endpoint", "blue/a", "--type", "refused")
    event = events[-1] if events else {}
    demo.say("      $ qmasq events --endpoint blue/a --type refused")
    demo.show(json.dumps(event))
    demo.check("10.0.0.3" in event.get("reason", "") and event.get("errnoName") == "EHOSTUNREACH",
               "the agent's event explains it", json.dumps(events))


def try_outside(demo, tenants):
    """The device node is of no use to a program that is not attached."""
    demo.step("No way around",
              "A program enters blue/a's namespaces from outside, without the filter: the device is masked there.")
    sleeper = tenants.spawn("blue/a", ["sh", "-c", "echo pid $$; exec sleep 120"])
    try:
        pid = sleeper.wait_for(r"^pid (\d+)", 30).group(1)
        result = tenants.lab.exec("hostA", ["nsenter", "--target", pid, "--mount", "--net", "--",
                                            "ibv_rc_pingpong", "-d", "rxe0", "-g", "1"], timeout=30)
        demo.show(result.out + result.err)
        demo.check(result.code != 0 and "Couldn't get context" in result.err,
                   "it cannot open the device", f"exit {result.code}\n{result.out}{result.err}")
    finally:
        sleeper.kill()
    wrong = tenants.qmasq("run", "--endpoint", "blue/b", "--", "true")
    demo.show(wrong.err)
    demo.check(wrong.code == 125 and "hostB" in wrong.err,
               "an endpoint of another host is refused, with the host's name", wrong.out + wrong.err)


def change_a_rule(demo, tenants):
    """A rule that is taken away ends what it had admitted."""
    demo.step("Security groups",
              "blue/a carries group web, which admits the default group. The rule goes while ib_write_bw runs.")
    for words in (("sg", "create", "blue/web"),
                  ("sg", "rule", "add", "blue/web", "--in", "--from", "sg:default", "--id", "open"),
                  ("endpoint", "update", "blue/a", "--group", "web", "--wait")):
        demo.say(f"      $ qmasq {' '.join(words)}")
        tenants.must(*words)
    argv = ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "4096", "-b", "-D", "60"]
    running = [tenants.spawn("blue/a", argv)]
    try:
        tenants.await_listening("blue/a", 18515)
        running.append(tenants.spawn("blue/b", [*argv, SIDES["a"][1]]))
        until = time.monotonic() + 30
        while time.monotonic() < until and not any(
                each["state"] == "rts" for each in tenants.json("conn", "list").get("connections", [])):
            time.sleep(0.2)
        demo.say("      $ qmasq sg rule remove blue/web open --wait")
        tenants.must("sg", "rule", "remove", "blue/web", "open", "--wait")
        ended = [each.wait(20) for each in running]
        for each in ended:
            demo.show("\n".join(re.findall(r".*[Cc]ompletion with error.*", each.out + each.err)[:1]))
        demo.check(all(each.code != 0 for each in ended), "both programs ended with a completion error",
                   "\n".join(each.out + each.err for each in ended))
    finally:
        for each in running:
            if each.running():
                each.kill()
    demo.say("      $ qmasq trace --from blue/b --to blue/a")
    traced = tenants.qmasq("trace", "--from", "blue/b", "--to", "blue/a")
    demo.show(traced.out)
    demo.check(traced.code == 5, "trace says that it is refused, and by what", traced.out + traced.err)
    tenants.must("endpoint", "update", "blue/a", "--group", "default", "--wait")


def limit_both(demo, tenants):
    """Two maximums at work at the same time."""
    demo.step("Each tenant its share of the NIC",
              "blue may send 20 Mbit/s and red 10, on every host. Both run ib_write_bw at once for 10 seconds.")
    for vpc, rate in (("blue", "20Mbit"), ("red", "10Mbit")):
        demo.say(f"      $ qmasq qos policy create for-{vpc} --maximum {rate}; qmasq qos attach for-{vpc} {vpc}")
        tenants.must("qos", "policy", "create", f"for-{vpc}", "--maximum", rate)
        tenants.must("qos", "attach", f"for-{vpc}", vpc, "--wait")
    program = Program("ib_write_bw", ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-s", "65536", "-D", "10",
                                      "--report_gbits"], 18515, r"^ *65536 +\d+ +[\d.]+ +[\d.]+")
    for outcome, most in zip(tenants.run_pair(program, ["blue", "red"]), (20, 10)):
        rate = float(outcome.proof.split()[3]) * 1000 if outcome.passed else 0
        demo.check(0.9 * most < rate < 1.1 * most, f"{outcome.vpc:4}  {rate:5.2f} Mbit/s of {most}", outcome.proof)
    demo.say("      $ qmasq qos show --host hostB")
    demo.show(tenants.must("qos", "show", "--host", "hostB"))


def clean_up(demo, tenants):
    """Everything goes, and the hosts are as before."""
    demo.step("Clean up", "Endpoints and VPCs are deleted; links and namespaces go with them.")
    tenants.remove_all()
    for host in ("hostA", "hostB"):
        left = tenants.lab.check(host, ["sh", "-c", "ip -o link | grep -E ' qm[a-z]*[0-9]' ; ls /run/netns; true"])
        demo.check(not left.strip(), f"nothing left on {host}", left)
        limits = tenants.lab.check(host, ["tc", "qdisc", "show", "dev", "eth0"])
        demo.check("htb" not in limits, f"no limits left on {host}", limits)


def run(demo, lab):
    """All steps."""
    tenants = Tenants(lab)
    make_tenants(demo, tenants)
    capture = tenants.capture()
    outcomes = run_programs(demo, tenants)
    show_sides(demo, tenants, outcomes, capture.stop())
    show_connections(demo, tenants)
    try_to_cross(demo, tenants)
    try_outside(demo, tenants)
    change_a_rule(demo, tenants)
    limit_both(demo, tenants)
    clean_up(demo, tenants)


def main():
    """The whole demonstration; exit code 1 when anything failed."""
    demo = Demo()
    demo.step("Boot two hosts",
              "QEMU, Debian's kernel with Soft-RoCE (rdma_rxe); controller on hostA, an agent on each.")
    lab = Lab(f"demo-{os.getpid()}", say=lambda text: demo.say("      " + text))
    try:
        with lab:
            demo.check(True, "hosts are up, agents in sync")
            run(demo, lab)
    except LabError as error:
        demo.check(False, "the lab did what was asked", str(error))
    except KeyboardInterrupt:
        demo.check(False, "not interrupted")
    demo.say(f"\ndemo: {demo.passed} passed, {demo.failed} failed")
    return 1 if demo.failed else 0


if __name__ == "__main__":
    sys.exit(main())
