# SPDX-License-Identifier: Apache-2.0
"""Who may do what: certificates at the controller, users and programs at a host's sockets."""

import json
import re
import time

import labtest
from labkit import fabric
from labkit.tenants import QMASQ

SCRATCH = "/tmp/auth-test"
USER = "1234"
# What the tests' user needs to reach programs in a clone that is closed to others.
SEARCH = "+dac_read_search"
CONNECT = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
name = sys.argv[2].encode()
s.send(bytes([10, len(name)]) + name)
print(s.recv(65536).decode(errors="replace"))
"""


class Controller(labtest.LabTest):
    """Certificates of all kinds, from hostB over TLS."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lab.check("hostB", ["mkdir", "-p", SCRATCH])
        cls.run_id = f"{int(time.time()):x}"

    @classmethod
    def tearDownClass(cls):
        for host in ("hostA", "hostB"):
            cls.lab.exec(host, ["rm", "-rf", SCRATCH])
        super().tearDownClass()

    def remote(self, certificates, *words):
        """qmasq on hostB with a certificate, over the network: Result."""
        return self.lab.exec("hostB", [
            QMASQ, *words, "--controller", fabric.address(self.lab),
            "--certificates", certificates])

    def access(self, name, *words):
        """An access by an admin of hostA, its certificate carried to hostB: the directory."""
        name = f"{name}-{self.run_id}"
        folder = f"{SCRATCH}/{name}"
        self.lab.check("hostA", ["mkdir", "-p", SCRATCH])
        self.tenants.must("access", "create", name, *words, "--out", folder)
        self.carry(folder)
        return folder

    def carry(self, folder):
        """Copies a directory of certificates from hostA to hostB."""
        for file in ("ca.pem", "identity.pem"):
            text = self.lab.check("hostA", ["cat", f"{folder}/{file}"])
            script = f"umask 077; mkdir -p {folder}; cat >{folder}/{file}"
            self.lab.check("hostB", ["bash", "-c", script], stdin=text)

    def assert_refused(self, result, pattern, status, caller):
        """Failed with these words, and recorded as that refusal of that caller."""
        self.assertEqual(result.code, 1, result.out + result.err)
        self.assertRegex(result.err, pattern)
        records = self.tenants.json("audit", "-n", "10")["records"]
        self.assertTrue(
            any(each["status"] == status and re.fullmatch(caller, each["caller"]["name"])
                and each["caller"]["peer"].startswith("192.168.77.11:") for each in records),
            json.dumps(records, indent=1))

    def test_strangers_certificate(self):
        script = f"""{self.lab.bin('qmasq-controller')} init --data-dir {SCRATCH}/stranger >/dev/null
            cp /var/lib/qmasq/tls/ca.pem {SCRATCH}/stranger/admin/ca.pem"""
        self.lab.check("hostA", ["bash", "-c", f"mkdir -p {SCRATCH}; {script}"])
        folder = f"{SCRATCH}/stranger/admin"
        self.carry(folder)
        self.assert_refused(self.remote(folder, "vpc", "list"), "does not take us for anybody",
                            "UNAUTHENTICATED", "unknown")

    def test_controller_of_another_ca_is_not_believed(self):
        folder = self.access("doubter", "--role", "viewer")
        self.lab.check("hostB", ["bash", "-c", f"""
            {self.lab.bin('qmasq-controller')} init --data-dir {SCRATCH}/other >/dev/null
            cp {SCRATCH}/other/tls/ca.pem {folder}/ca.pem"""])
        result = self.remote(folder, "vpc", "list")
        self.assertEqual(result.code, 3, result.out)
        self.assertIn("not our controller", result.err)

    def test_expired_certificate(self):
        folder = self.access("brief", "--role", "admin", "--ttl", "2s")
        time.sleep(3)
        self.assert_refused(self.remote(folder, "vpc", "list"), "expired", "UNAUTHENTICATED",
                            "unknown|accesses/brief.*")

    def test_no_certificate_at_all(self):
        result = self.lab.exec("hostB", [QMASQ, "vpc", "list", "--controller",
                                         fabric.address(self.lab)])
        self.assertEqual(result.code, 2)
        self.assertIn("--certificates", result.err)

    def test_hosts_certificate_is_for_its_agent_alone(self):
        self.assert_refused(
            self.remote(fabric.CERTIFICATES, "vpc", "create", "mine", "--range", "10.9.0.0/24"),
            "host", "PERMISSION_DENIED", "hosts/hostB")

    def test_another_hosts_certificate(self):
        def start():
            result = self.lab.exec("hostB", ["timeout", "20", self.lab.bin("qmasq-vbond"),
                                             "--host-name", "hostA", "--controller",
                                             fabric.address(self.lab), "--underlay-device", "eth0",
                                             "--socket-dir", f"{SCRATCH}/sockets", "--overlay", "none"])
            return result.out + result.err
        # With sockets of its own or not: a second agent would take the guard from the first.
        self.assertIn("another agent of this host has the guard", start())
        self.lab.stop_daemon("hostB", "vbond")
        try:
            self.assertIn("is of hosts/hostB, and this agent is hosts/hostA", start())
        finally:
            fabric.start_agent(self.lab, "hostB")
            fabric.wait_in_sync(self.lab)
        self.assertEqual(self.probe("blue/b", "connect", "--gid", "10.0.0.1", "--qpn", "17")["RTR"], "0")

    def test_viewers_mutation(self):
        folder = self.access("viewer", "--role", "viewer")
        self.assertIn("blue", self.remote(folder, "vpc", "list").out)
        self.assert_refused(
            self.remote(folder, "vpc", "create", "green", "--range", "10.9.0.0/24"), "viewer",
            "PERMISSION_DENIED", "accesses/viewer-.*")

    def test_vpc_admin_outside_its_vpc(self):
        folder = self.access("bluish", "--role", "vpc-admin", "--vpc", "blue")
        listed = self.remote(folder, "vpc", "list").out
        self.assertIn("blue", listed)
        self.assertNotIn("red", listed)
        self.assertEqual(self.remote(folder, "endpoint", "update", "blue/a", "--description",
                                     "by its admin").code, 0)
        theirs = self.remote(folder, "endpoint", "update", "red/a", "--description", "not theirs")
        self.assert_refused(theirs, "red", "NOT_FOUND",
                            "accesses/bluish-.*")
        nowhere = self.remote(folder, "endpoint", "update", "void/a", "--description", "x")
        self.assertEqual(theirs.err.replace("red", "void"), nowhere.err)

    def test_revoked_admin(self):
        folder = self.access("leaver", "--role", "admin")
        self.assertEqual(self.remote(folder, "whoami").code, 0)
        self.tenants.must("access", "revoke", f"leaver-{self.run_id}")
        self.assert_refused(self.remote(folder, "vpc", "list"), "revoked", "UNAUTHENTICATED",
                            "unknown|accesses/leaver.*")

    def test_revoked_host_is_cut_off_and_may_join_again(self):
        self.tenants.must("host", "revoke", "hostB")
        self.eventually(lambda: not self.agent("hostB").get("connected", False),
                        "the agent's stream ends")
        self.eventually(lambda: "revoked" in self.agent("hostB").get("lastError", ""),
                        "and the agent says why")
        self.assertEqual(self.tenants.run("blue/b", ["/bin/true"]).code, 0, "programs go on")
        fabric.join(self.lab, "hostB")
        fabric.wait_in_sync(self.lab)

    def test_a_token_is_good_once(self):
        token = fabric.make_token(self.lab, "hostB")
        words = [self.lab.bin("qmasq-vbond"), "join", "--controller", fabric.address(self.lab),
                 "--token-file", "-", "--certificates", f"{SCRATCH}/again"]
        self.lab.check("hostB", words, stdin=token)
        result = self.lab.exec("hostB", words, stdin=token)
        self.assertEqual(result.code, 1)
        self.assertNotIn(token.split(".")[1], result.err)

    def test_no_secret_is_in_any_log(self):
        self.tenants.must("host", "token", "hostB")
        found = 0
        for host in self.lab.hosts:
            for log in host.folder.glob("*.log"):
                text = log.read_text(errors="replace")
                found += 1
                self.assertNotIn("PRIVATE KEY", text, log)
                self.assertNotRegex(text, r"qmasq1\.[A-Za-z0-9_-]{20}", log)
        self.assertGreaterEqual(found, 5)


class Local(labtest.LabTest):
    """Users and programs at the sockets of hostA's agent."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tenants.must("endpoint", "update", "blue/a", "--user", USER, "--wait")

    def as_user(self, *words, capabilities=SEARCH):
        """Runs words on hostA as a user who is nobody: Result."""
        return self.lab.exec("hostA", [
            "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
            f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", *words])

    def test_user_sees_what_is_theirs(self):
        seen = self.as_user(QMASQ, "agent", "-o", "json")
        self.assertEqual(seen.code, 0, seen.err)
        agent = json.loads(seen.out)
        self.assertEqual([each["name"] for each in agent["localEndpoints"]],
                         ["vpcs/blue/endpoints/a"])
        self.assertNotIn("192.168.77", seen.out)
        for words in (("conn", "list", "--endpoint", "red/a"), ("events", "--endpoint", "red/a"),
                      ("conn", "list", "--vpc", "red"), ("events", "--endpoint", "blue/none")):
            refused = self.as_user(QMASQ, *words)
            self.assertEqual(refused.code, 1, words)
            self.assertIn(f"is not for user {USER}", refused.err)
        self.assertEqual(self.as_user(QMASQ, "conn", "list").code, 0)

    def test_user_sees_no_event_of_others_and_no_physical_address(self):
        def events(text):
            return [json.loads(line) for line in text.splitlines()]
        before = max(int(event["sequence"]) for event in events(self.tenants.must("events", "-o", "json")))
        for endpoint in ("blue/a", "red/a"):
            self.probe(endpoint, "connect", "--gid", "10.0.0.2", "--qpn", "17")
        whole = self.tenants.must("events", "-o", "json")
        self.assertIn("vpcs/red/endpoints/a", whole)
        self.assertIn("c0a8:4d", whole, "an operator sees physical GIDs")
        seen = self.as_user(QMASQ, "events", "-o", "json")
        self.assertEqual(seen.code, 0, seen.err)
        # Earlier tests' programs asked for physical addresses; why they were refused repeats their words.
        shown = json.dumps([event for event in events(seen.out) if int(event["sequence"]) > before])
        self.assertIn("vpcs/blue/endpoints/a", shown)
        self.assertNotIn("vpcs/red", seen.out)
        for hidden in ("c0a8:4d", "192.168.77", "hosts/hostB"):
            self.assertNotIn(hidden, shown)

    def test_user_of_nothing_sees_nothing(self):
        refused = self.lab.exec("hostA", ["setpriv", "--reuid=4321", "--regid=4321",
                                          "--clear-groups", f"--inh-caps={SEARCH}",
                                          f"--ambient-caps={SEARCH}", QMASQ, "agent"])
        self.assertEqual(refused.code, 1)
        self.assertIn("no endpoint of this host is for user 4321", refused.err)

    def test_user_runs_programs_on_their_endpoint_alone(self):
        able = "+sys_admin,+setpcap,+dac_read_search"
        ran = self.as_user(QMASQ, "run", "-e", "blue/a", "--", "ibv_devinfo", "-v",
                           capabilities=able)
        self.assertEqual(ran.code, 0, ran.err)
        self.assertIn("10.0.0.1", ran.out)
        identity = self.as_user(QMASQ, "run", "-e", "blue/a", "--", "bash", "-c",
                                "id -u; grep CapEff /proc/self/status", capabilities=able)
        self.assertRegex(identity.out, rf"^{USER}\nCapEff:\t0+(100)?\n")
        other = self.as_user(QMASQ, "run", "-e", "red/a", "--", "/bin/true", capabilities=able)
        self.assertEqual(other.code, 125)
        self.assertIn(f"is for user {USER}", other.err)
        unable = self.as_user(QMASQ, "run", "-e", "blue/a", "--", "/bin/true")
        self.assertEqual(unable.code, 125)
        self.assertIn("CAP_SYS_ADMIN", unable.err)

    def test_programs_find_no_socket_and_no_key(self):
        for folder in ("/run/qmasq", "/var/lib/qmasq", "/var/lib/qmasq-vbond"):
            self.assertNotEqual(self.lab.check("hostA", ["ls", "-A", folder]), "", folder)
            listed = self.tenants.run("blue/a", ["ls", "-A", folder])
            self.assertEqual((listed.code, listed.out), (0, ""), folder)
            self.assertNotEqual(self.tenants.run("blue/a", ["umount", folder]).code, 0, folder)

    def test_program_that_reaches_the_sockets_is_refused(self):
        # A descriptor from outside leads past what hides them.
        def inside(*words):
            return self.lab.exec("hostA", [
                "bash", "-c", 'exec 9</run/qmasq; exec "$@"', "-", QMASQ, "run", "-e", "blue/a",
                "--", *words])
        for words in (("conn", "list"), ("events",), ("agent",), ("qos", "show", "--local")):
            asked = inside(QMASQ, *words, "--agent-socket-dir", "/proc/self/fd/9")
            self.assertEqual(asked.code, 1, asked.out + asked.err)
            self.assertIn("may not use the agent's sockets", asked.err)
        attach = inside("/usr/bin/python3", "-c", CONNECT, "/proc/self/fd/9/attach.sock", "red/a")
        self.assertEqual(attach.code, 0, attach.err)
        self.assertIn("may not use the agent's sockets", attach.out)
        # The same from outside, to see that it is the program that is refused.
        outside = self.lab.check("hostA", ["/usr/bin/python3", "-c", CONNECT,
                                           "/run/qmasq/attach.sock", "red/a"])
        self.assertIn("vpcs/red/endpoints/a", outside)


if __name__ == "__main__":
    labtest.main()
