# SPDX-License-Identifier: Apache-2.0
"""Physical addresses, looked for wherever a tenant can read: verbs, error texts, sysfs, procfs, netlink."""

import json
import re

from attacktest import ATTACK, AttackTest, main, report

# /proc/PID of other processes is not here: see docs/security.md on what `qmasq run` shares with the host.
ROOTS = ["/sys", "/proc/self", "/proc/net", "/proc/bus", "/proc/sys/net", "/run/qmasq"]


class Leaks(AttackTest):
    """What stands for a host on the wire, in each form in which it could be written down."""

    def marks(self):
        """Lines for the program: addresses as text and as bytes, MACs and what is made of them."""
        out = []
        for host in self.lab.hosts:
            out += [host.ipv4, host.ipv6, host.gid_tail[:4] + ":" + host.gid_tail[5:],
                    "hex:0000ffff" + "".join(f"{int(part):02x}" for part in host.ipv4.split("."))]
            mac = self.lab.check(host.name, ["cat", "/sys/class/net/eth0/address"]).strip()
            guid = self.lab.check(host.name, ["cat", "/sys/class/infiniband/rxe0/node_guid"]).strip()
            link_local = self.lab.check(host.name, ["cat", "/sys/class/infiniband/rxe0/ports/1/gids/0"]).strip()
            out += [mac, "hex:" + mac.replace(":", ""), guid, "hex:" + guid.replace(":", ""), link_local[20:],
                    "hex:" + link_local[20:].replace(":", "")]
        return "\n".join(out) + "\n"

    def search(self, words, host, peer):
        """Where marks were found."""
        roots = [word for root in ROOTS for word in ("--root", root)]
        return self.answer(self.lab.exec(
            host, [*words, ATTACK, "leaks", *roots, "--peer-gid", peer, "--peer-qpn", "17"], timeout=300,
            stdin=self.marks()), words)

    def test_no_physical_address_is_found(self):
        control = self.search([], "hostA", self.lab.host("hostB").ipv4)
        found = " ".join(control["found"])
        for place in ("QUERY_GID_TABLE", "QUERY_GID_ENTRY", "QUERY_QP", "netlink addresses", "/sys/"):
            self.assertIn(place, found)
        answer = self.search([self.qmasq, "run", "--endpoint", "blue/a", "--"], "hostA", "10.0.0.2")
        report("a physical address to read", answer["places"], len(answer["found"]), len(control["found"]))
        self.assertGreater(answer["places"], 500)
        self.assertEqual(answer["found"], [])

    @property
    def qmasq(self):
        """The command line program."""
        return ATTACK.parent / "qmasq"

    def test_rdma_netlink(self):
        """`rdma resource` lists queue pairs of the whole host."""
        held = self.tenants.spawn("red/a", [ATTACK, "victim", "--peer-gid", "10.0.0.2", "--seconds", "60"])
        try:
            number = re.search(r'"qpn":(\d+)', held.wait_for(r'^\{"qpn".*$').group(0)).group(1)
            words = ["sh", "-c", "rdma resource show qp; rdma -d link; rdma dev; rdma resource show mr"]
            control = self.lab.exec("hostA", words)
            self.assertIn(f"lqpn {number} ", control.out)
            result = self.tenants.run("blue/a", words)
            successes = int(f"lqpn {number} " in result.out) + int("rxe0" in result.out)
            report("RDMA netlink", 4, successes, control.out.count(f"lqpn {number} "))
            self.assertEqual(successes, 0, result.out)
        finally:
            held.kill()

    def test_events_and_errors_that_a_tenant_gets(self):
        """Texts of refusals as programs print them, and that the agent's sockets are closed to other users."""
        peer = self.lab.host("hostB").ipv4
        mark = re.compile(r"192\.168\.77|c0a8:4d|fd77:")
        answers = [self.tenant("blue/a", "verbs", *self.physical(), "--qpn", "4242", "--peer-gid", "10.0.0.2"),
                   self.probe("blue/a", "connect", "--gid", peer, "--qpn", "17")]
        text = json.dumps(answers).replace(peer, "")  # its own word for it
        for command in (["events"], ["conn", "list"], ["agent"]):
            result = self.lab.exec("hostA", [self.qmasq, "run", "--endpoint", "blue/a", "--user", "1234", "--",
                                             self.qmasq, *command, "-o", "json"])
            text += result.out + result.err
        control = self.lab.exec("hostA", [self.qmasq, "agent", "-o", "json"]).out
        found = mark.findall(text)
        report("events and error texts", 5, len(found), len(mark.findall(control)))
        self.assertTrue(mark.search(control), control)
        self.assertEqual(found, [])


if __name__ == "__main__":
    main()
