# SPDX-License-Identifier: Apache-2.0
"""Dashboards, recordings and alerts without a lab: they read, they parse, they name what there is."""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from labkit import dashboards, prometheus
from labkit.paths import REPO

HERE = Path(__file__).resolve().parent
ALERT_TESTS = HERE / "alerts_test.yml"
OPERATIONS = REPO / "docs" / "operations.md"
WANTED_VARIABLES = {
    "tenants-qos": {"datasource", "vpc", "host", "endpoint"},
    "connections-security": {"datasource", "vpc", "host", "endpoint"},
    "fleet-health": {"datasource", "host"},
}
SEVERITIES = {"critical", "warning", "info"}


def rule_texts():
    """Text of all rule files."""
    return "\n".join(path.read_text(encoding="utf-8") for path in dashboards.RULES)


def rules():
    """The rules of all files, one text each."""
    return [part for part in re.split(r"(?m)^      - (?=alert:|record:)", rule_texts())
            if part.startswith(("alert:", "record:"))]


def anchor(heading):
    """What a heading is called in a link, as GitHub has it."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def expressions():
    """(where, expression) of every query of panels, variables and rules, variables filled in."""
    for name, dashboard in dashboards.load().items():
        for query in dashboards.queries(name, dashboard):
            yield query.key, dashboards.fill(query.expression)
        for variable, (selector, _) in dashboards.variables(dashboard).items():
            yield f"{name}: variable {variable}", dashboards.fill(selector)
    for rule in rules():
        expression = re.search(r"(?s)\bexpr: (?:\|\n)?(.*?)(?=\n(?:        (?:for|labels):|      #|\S|$)|\Z)", rule)
        yield rule.splitlines()[0], expression.group(1)


class Dashboards(unittest.TestCase):
    """The JSON files."""

    def test_they_are_what_the_source_says(self):
        done = subprocess.run([sys.executable, "-B", REPO / "helm" / "source" / "generate.py", "--check"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_they_have_what_grafana_needs(self):
        loaded = dashboards.load()
        self.assertEqual(set(loaded), set(WANTED_VARIABLES))
        self.assertEqual(len({each["uid"] for each in loaded.values()}), len(loaded))
        for name, dashboard in loaded.items():
            with self.subTest(name):
                self.assertLessEqual(len(dashboard["uid"]), 40)
                self.assertGreaterEqual(dashboard["schemaVersion"], 39)
                self.assertEqual({each["name"] for each in dashboard["templating"]["list"]}, WANTED_VARIABLES[name])
                numbers = [each["id"] for each in dashboard["panels"]]
                self.assertEqual(len(numbers), len(set(numbers)))

    def test_every_panel_has_title_description_unit_and_source(self):
        for name, dashboard in dashboards.load().items():
            titles = [panel["title"] for panel in dashboards.panels(dashboard)]
            self.assertEqual(len(titles), len(set(titles)), name)
            for panel in dashboards.panels(dashboard):
                with self.subTest(dashboard=name, panel=panel["title"]):
                    self.assertTrue(panel["title"].strip())
                    self.assertRegex(panel["description"], r"\w.*\.$")
                    self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                    self.assertTrue(panel["targets"])
                    for target in panel["targets"]:
                        self.assertEqual(target["datasource"]["uid"], "${datasource}")
                        if panel["type"] == "timeseries":
                            self.assertTrue(target["legendFormat"], target["expr"])

    def test_no_panel_lies_on_another(self):
        for name, dashboard in dashboards.load().items():
            taken = {}
            for panel in dashboard["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), taken, f"{name}: {panel['title']} on {taken.get((x, y))}")
                        taken[x, y] = panel["title"]

    def test_variables_that_queries_use_are_there(self):
        known = {"__rate_interval", "__range", "datasource"}
        for name, dashboard in dashboards.load().items():
            there = set(dashboards.variables(dashboard))
            used = set()
            for query in dashboards.queries(name, dashboard):
                used |= set(re.findall(r"\$\{?(\w+)", query.expression)) - known
            self.assertEqual(used, there, name)

    def test_legends_name_labels_that_the_result_has(self):
        for name, dashboard in dashboards.load().items():
            for query in dashboards.queries(name, dashboard):
                by = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", query.expression))))
                if "qmasq_quota:ratio" in query.expression:
                    by |= {"instance", "vpc", "endpoint", "resource"}
                named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
                self.assertLessEqual(named, by, query.key)


class Expressions(unittest.TestCase):
    """PromQL of panels, variables and rules."""

    def test_every_expression_parses(self):
        """As the rule of a file of our own: promtool has no other way to parse without a server."""
        cases = [(where, expression) for where, expression in expressions()
                 if not where.startswith(("alert:", "record:"))]
        self.assertGreater(len(cases), 80)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "queries.yml"
            group = {"name": "queries", "rules": [
                {"record": f"query:{number}", "expr": expression} for number, (_, expression) in enumerate(cases)]}
            path.write_text(json.dumps({"groups": [group]}))  # JSON is YAML
            done = prometheus.promtool("check", "rules", path)
            said = re.sub(r"query:(\d+)", lambda found: cases[int(found.group(1))][0], done.stdout + done.stderr)
            self.assertEqual(done.returncode, 0, said)
            self.assertIn(f"{len(cases)} rules found", said)
            path.write_text(json.dumps({"groups": [{"name": "bad", "rules": [{"record": "a", "expr": "sum(("}]}]}))
            self.assertNotEqual(prometheus.promtool("check", "rules", path).returncode, 0)

    def test_every_metric_is_declared_or_recorded(self):
        metrics, recorded = dashboards.declared(), dashboards.recorded(rule_texts())
        named = 0
        for where, expression in expressions():
            for selector in dashboards.selectors(expression):
                with self.subTest(where, metric=selector.name):
                    named += 1
                    if selector.name in dashboards.OWN_METRICS | recorded:
                        continue
                    metric = dashboards.resolve(selector.name, metrics)
                    self.assertIsNotNone(metric, "not in docs/metrics.md")
                    self.assertLessEqual(selector.labels, metric.labels | dashboards.OWN_LABELS)
        self.assertGreater(named, 150)

    def test_rates_are_of_counters(self):
        metrics = dashboards.declared()
        for where, expression in expressions():
            for name in re.findall(r"\b(?:rate|increase)\((\w+)", expression):
                metric = dashboards.resolve(name, metrics)
                self.assertIn(metric.type, ("counter", "histogram"), f"{where}: {name}")
            for name in re.findall(r"(?<![(\w])\w*qmasq_\w+_total\b", re.sub(r"(rate|increase)\(\w+", "", expression)):
                self.fail(f"{where}: {name} without rate() or increase()")

    def test_dashboards_show_all_of_qos(self):
        """No QoS metric is left out of sight."""
        shown = {selector.name for _, expression in expressions() for selector in dashboards.selectors(expression)}
        for name, metric in dashboards.declared().items():
            if re.match(r"qmasq_vbond_(qos|quota|verb_rate)_", name):
                self.assertTrue({name, name + "_bucket"} & shown, f"{metric.name} is on no dashboard")

    def test_selectors_are_found(self):
        found = dashboards.selectors("""sum by (a, b) (rate(qmasq_x_total{vpc=~"{by}", le!="(1)"}[5m])) / on (a)
                                     group_left () max(a:qmasq_y:rate5m offset 5m) > 1e3 or vector(0) and up == 0""")
        self.assertEqual([(each.name, set(each.labels)) for each in found],
                         [("qmasq_x_total", {"vpc", "le"}), ("a:qmasq_y:rate5m", set()), ("up", set())])


class Rules(unittest.TestCase):
    """Recordings and alerts."""

    def test_promtool_accepts_them(self):
        done = prometheus.promtool("check", "rules", *dashboards.RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_fire_and_do_not_fire(self):
        done = prometheus.promtool("test", "rules", ALERT_TESTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_is_tested_both_ways(self):
        names = re.findall(r"(?m)^      - alert: (\w+)$", rule_texts())
        self.assertEqual(len(names), len(set(names)))
        tests = re.findall(r"alertname: (\w+)\n\s*exp_alerts:( \[\])?", ALERT_TESTS.read_text(encoding="utf-8"))
        self.assertEqual({name for name, nothing in tests if not nothing}, set(names))
        self.assertEqual({name for name, nothing in tests if nothing}, set(names))

    def test_every_alert_says_what_to_do(self):
        headings = {anchor(line.lstrip("# ")) for line in OPERATIONS.read_text(encoding="utf-8").splitlines()
                    if line.startswith("#")}
        for rule in rules():
            if not rule.startswith("alert:"):
                continue
            name = rule.splitlines()[0].removeprefix("alert: ")
            with self.subTest(name):
                self.assertIn(re.search(r"severity: (\w+)", rule).group(1), SEVERITIES)
                self.assertRegex(rule, r"\n        for: \d+m\n")
                for what in ("summary", "description"):
                    self.assertRegex(rule, rf"\n          {what}: '.+'")
                runbook = re.search(r"\n          runbook: docs/operations\.md#(\S+)\n", rule)
                self.assertEqual(runbook.group(1), name.lower())
                self.assertIn(runbook.group(1), headings)


class List(unittest.TestCase):
    """docs/metrics.md against what the programs declare."""

    def test_names_are_as_prometheus_wants_them(self):
        for metric in dashboards.declared().values():
            self.assertEqual(metric.type == "counter", metric.name.endswith("_total"), metric.name)

    def test_every_name_in_the_source_is_in_the_list(self):
        metrics = dashboards.declared()
        found = set()
        for part in ("common", "vbond", "controller"):
            for path in (REPO / part).rglob("*.cc"):
                found |= set(re.findall(r'"(qmasq_[a-z0-9_]*[a-z0-9])"', path.read_text(encoding="utf-8")))
        self.assertGreater(len(found), 40)
        self.assertEqual(found - set(metrics) - NOT_METRICS, set())


# Maps of the guard's BPF programs, and one of the programs.
NOT_METRICS = {"qmasq_devices", "qmasq_events", "qmasq_files", "qmasq_refuse_compat", "qmasq_slots", "qmasq_state"}


if __name__ == "__main__":
    unittest.main(verbosity=2)
