# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus watches the lab while tenants work, are refused and are cut: every query of every
dashboard returns data, and nothing is exposed that docs/metrics.md does not have.

What was answered is kept in build/dashboards/results.json, from which helm/render draws.
"""

import json
import math
import re
import subprocess
import time

import labtest
from labkit import LabError, dashboards, prometheus
from labkit.paths import REPO

RESULTS = REPO / "build" / "dashboards" / "results.json"
INTERVAL = 4  # seconds between two scrapes
RATE_INTERVAL = "16s"  # four of them, as Grafana has it
TRAFFIC_SECONDS = 90
MAXIMUM = 20_000_000 / 8  # of VPC blue on each host, bytes a second
NIC = "60Mbit"

AGENT, CONTROLLER = "9478", "9477"


def write_bw(seconds, size):
    """Both ways, so that the egress of both hosts is limited; with the time-out of slow links, as in qos_test.py."""
    return ["ib_write_bw", "-d", "rxe0", "-x", "1", "-F", "-b", "-q", "2", "-u", "20", "-s", str(size), "-D",
            str(seconds)]


class Dashboards(labtest.LabTest):
    """Two VPCs with limits; blue/c is a tenant that asks for what it may not have."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.relay = cls.enterClassContext(prometheus.Relay(cls.lab))
        targets = {
            "qmasq-vbond": [(host.name, cls.relay.address, f"/{host.name}/{AGENT}") for host in cls.lab.hosts],
            "qmasq-controller": [("controller", cls.relay.address, f"/hostA/{CONTROLLER}")],
        }
        cls.server = cls.enterClassContext(prometheus.Prometheus(
            prometheus.data_folder(cls.lab), targets, dashboards.RULES, f"{INTERVAL}s"))
        cls.begun = time.time()
        cls.work()
        cls.ended = time.time()

    # What happens

    @classmethod
    def work(cls):
        """A minute and a half in the life of two tenants."""
        cls.tenants.create_endpoint("blue/c", "hostA", "10.0.0.3")
        cls.limits()
        running = [program for vpc in cls.vpcs for program in cls.traffic(vpc)]
        try:
            time.sleep(3 * INTERVAL)
            for each in running:
                if not each.running():
                    raise LabError(f"traffic ended at once:\n{each.out}{each.err}")
            # Twice, with scrapes between: a counter that was not there before has no rate yet.
            for _ in range(2):
                cls.misbehave()
                cls.change_rules()
            time.sleep(3 * INTERVAL)
        finally:
            for each in running:
                if each.running():
                    each.kill()

    @classmethod
    def traffic(cls, vpc):
        """A pair of programs of the VPC, which are connected."""
        argv = write_bw(TRAFFIC_SECONDS, 65536)
        server = cls.tenants.spawn(f"{vpc}/a", argv)
        cls.tenants.await_listening(f"{vpc}/a", 18515)
        client = cls.tenants.spawn(f"{vpc}/b", [*argv, "10.0.0.1"])
        until = time.monotonic() + 60
        while not cls.tenants.json("conn", "list", "--vpc", vpc).get("connections"):
            if time.monotonic() > until or not client.running():
                raise LabError(f"{vpc} is not connected:\n{server.out}{server.err}{client.out}{client.err}")
        return server, client

    @classmethod
    def limits(cls):
        """Every kind of limit, on VPCs and on endpoints."""
        for host in cls.lab.hosts:
            cls.tenants.must("host", "update", host.name, "--nic-rate", f"rxe0={NIC}")
        quotas = [word for quota in ("qps=64", "cqs=64", "mrs=64", "srqs=16", "pinned=256MiB")
                  for word in ("--quota", quota)]
        rates = [word for rate in ("contexts=50/s", "qps=50/s", "connects=50/s", "verbs=2000/s")
                 for word in ("--rate", rate)]
        create = ("qos", "policy", "create")
        cls.tenants.must(*create, "gold", "--guaranteed", "10Mbit", "--maximum", "20Mbit", *quotas, *rates)
        cls.tenants.must(*create, "half", "--guaranteed", "5Mbit", "--maximum", "15Mbit", *quotas, *rates)
        cls.tenants.must(*create, "modest", "--maximum", "10Mbit", "--weight", "5")
        cls.tenants.must(*create, "tiny", "--quota", "qps=2", "--rate", "verbs=40/s,burst=60")
        for policy, target in (("gold", "blue"), ("half", "blue/a"), ("half", "blue/b"), ("modest", "red"),
                               ("tiny", "blue/c")):
            cls.tenants.must("qos", "attach", policy, target, "--wait")

    @classmethod
    def misbehave(cls):
        """No such peer, too many queue pairs, too many verbs, verbs that nobody offers."""
        probe = labtest.PROBE
        for words in (["connect", "--gid", "10.0.0.99", "--qpn", "17"],
                      ["crowd", "--gid", "10.0.0.2", "--count", "4", "--seconds", "1"],
                      ["flood", "--seconds", "3"]):
            cls.tenants.run("blue/c", [probe, *words], host="hostA")
        cls.tenants.run("red/a", [probe, "connect", "--gid", "10.0.0.2", "--type", "xrc"])
        cls.tenants.run("red/a", [probe, "hostile"])
        # Administrators err as well, and look.
        cls.tenants.qmasq("vpc", "get", "nowhere")
        cls.tenants.must("endpoint", "list")

    @classmethod
    def change_rules(cls):
        """A connection that is narrowed and cut, one that a shadow rule would refuse, one that is refused."""
        admin = cls.tenants.must
        connect = [labtest.PROBE, "connect", "--gid", "10.0.0.2", "--qpn", "17"]
        admin("sg", "create", "blue/guests")
        admin("sg", "rule", "add", "blue/guests", "--in", "--from", "any", "--id", "open")
        admin("sg", "rule", "add", "blue/guests", "--in", "--from", "any", "--deny", "--priority", "5000", "--shadow",
              "--id", "later")
        admin("endpoint", "update", "blue/c", "--group", "guests", "--wait")
        held = cls.tenants.spawn("blue/c", [*connect, "--insist", "--hold", "60"], host="hostA")
        try:
            held.wait_for('"WIDEN":"0"')
            time.sleep(INTERVAL)
            admin("sg", "rule", "add", "blue/guests", "--in", "--from", "any", "--ops", "send", "--priority", "2000",
                  "--id", "tight", "--wait")
            time.sleep(INTERVAL)
            for rule in ("tight", "open"):
                admin("sg", "rule", "remove", "blue/guests", rule, "--wait")
            cls.tenants.run("blue/c", connect, host="hostA")
            time.sleep(INTERVAL)
        finally:
            held.kill()
        admin("endpoint", "update", "blue/c", "--group", "default", "--wait")
        admin("sg", "delete", "blue/guests", "--wait")

    # What is seen

    def test_every_query_returns_data(self):
        saved = {"begin": self.begun, "end": self.ended, "step": INTERVAL, "title": "lab", "queries": {}}
        for name, dashboard in dashboards.load().items():
            choices = self.choices(dashboard)
            for query in dashboards.queries(name, dashboard):
                with self.subTest(query.key):
                    expression = dashboards.fill(query.expression, RATE_INTERVAL,
                                                 f"{math.ceil(self.ended - self.begun)}s", **choices)
                    result = self.server.query(expression, self.ended) if query.instant else \
                        self.server.query_range(expression, self.begun, self.ended, INTERVAL)
                    saved["queries"][query.key] = result
                    self.assertTrue(figures(result), f"no data: {expression}\n{str(result)[:500]}")
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(saved))

    def test_variables_offer_what_there_is(self):
        for name, dashboard in dashboards.load().items():
            choices = {variable: set(values.split("|")) for variable, values in self.choices(dashboard).items()}
            with self.subTest(name):
                self.assertEqual(choices["host"], {"hostA", "hostB"})
                if "vpc" in choices:
                    self.assertEqual(choices["vpc"], {"blue", "red"})
                    self.assertEqual(choices["endpoint"], {"a", "b", "c"})

    def test_recordings_are_recorded_and_targets_are_up(self):
        for target in self.server.targets():
            self.assertEqual(target["health"], "up", target.get("lastError"))
        for path in dashboards.RULES:
            for name in dashboards.recorded(path.read_text(encoding="utf-8")):
                self.assertTrue(self.server.series(name, self.begun, self.ended), name)

    def test_what_is_seen_is_what_happened(self):
        def total(expression):
            return sum(figures(self.server.query(expression, self.ended)))

        # Scrapes are late at times; the tests of limits measure them closely.
        for host in ("hostA", "hostB"):
            seen = figures(self.server.query_range(
                f'sum(rate(qmasq_vbond_qos_vpc_egress_bytes_total{{vpc="blue",instance="{host}"}}[32s]))',
                self.begun, self.ended, INTERVAL))
            self.assertLess(max(seen), 1.15 * MAXIMUM, host)
            self.assertGreater(max(seen), 0.5 * MAXIMUM, host)
        self.assertEqual(total('qmasq_controller_objects{kind="endpoint"}'), 5)
        self.assertEqual(total("max(qmasq_controller_revision)"), total("max(qmasq_vbond_sync_held_revision)"))
        self.assertEqual(total("sum(qmasq_vbond_qos_vpc_limits_enforced == 0) or vector(0)"), 0)
        waiting = self.server.query_range('max(rate(qmasq_vbond_qos_vpc_throttled_seconds_total{vpc="blue"}[32s]))',
                                          self.begun, self.ended, INTERVAL)
        self.assertGreater(max(figures(waiting)), 0.3)
        for what, least in (
                ('qmasq_vbond_quota_refusals_total{vpc="blue",endpoint="c",resource="queue_pairs"}', 2),
                ('qmasq_vbond_verb_rate_admissions_total{vpc="blue",endpoint="c",result="refused"}', 2),
                ('qmasq_vbond_conntrack_cuts_total{vpc="blue",endpoint="c",cause="rules"}', 2),
                ('qmasq_vbond_conntrack_narrowed_total{vpc="blue",endpoint="c"}', 2),
                ('qmasq_vbond_conntrack_shadow_hits_total{vpc="blue",endpoint="c"}', 2),
                ('qmasq_vbond_conntrack_verdicts_total{vpc="blue",endpoint="c",verdict="forbidden"}', 2),
                ('qmasq_vbond_rename_refusals_total{instance="hostA",errno="EHOSTUNREACH"}', 2),
                ('qmasq_controller_rpc_requests_total{method="GetVpc",code="not_found"}', 2)):
            self.assertGreaterEqual(total(f"sum({what})"), least, what)

    def test_what_is_exposed_is_declared(self):
        metrics = dashboards.declared()
        exposed = set()
        for host, port in (("hostA", AGENT), ("hostB", AGENT), ("hostA", CONTROLLER)):
            text = prometheus.scrape(self.lab, host, port)
            types = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
            helps = set(re.findall(r"(?m)^# HELP (\S+) \S", text))
            ours = {name for name in types if name.startswith("qmasq_")}
            exposed |= ours
            self.assertEqual(ours - set(metrics), set(), "not in docs/metrics.md")
            self.assertEqual(ours - helps, set(), "without HELP")
            for name in ours:
                self.assertEqual(types[name], metrics[name].type, name)
            for name, labels in re.findall(r"(?m)^(qmasq_\w+)(?:\{(.*)\})? \S+$", text):
                metric = dashboards.resolve(name, metrics)
                self.assertIsNotNone(metric, name)
                self.assertEqual(set(re.findall(r'(\w+)="', labels)) - {"le"}, set(metric.labels), name)
            done = subprocess.run([prometheus.get(print) / "promtool", "check", "metrics"], input=text, text=True,
                                  capture_output=True, check=False)
            foreign = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("qmasq_")]
            self.assertEqual(foreign, [], f"promtool, of {host} port {port}")
        self.assertEqual(set(metrics) - exposed, set(), "in docs/metrics.md, and nobody exposes it")

    def choices(self, dashboard):
        """Variable -> its values in Prometheus, as Grafana puts "all of them" into a query."""
        found = {}
        for variable, (selector, label) in dashboards.variables(dashboard).items():
            series = self.server.series(dashboards.fill(selector, **found), self.begun, self.ended)
            found[variable] = "|".join(sorted({each[label] for each in series}))
        return found


def figures(result):
    """All numbers of a result that are numbers."""
    texts = [text for series in result for _, text in series.get("values", [series.get("value", (0, "NaN"))])]
    return [value for value in map(float, texts) if math.isfinite(value)]


if __name__ == "__main__":
    labtest.main()
