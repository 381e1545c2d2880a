# SPDX-License-Identifier: Apache-2.0
"""The dashboards and rules below helm/, read as their users read them, and the list of metrics that they
may name (docs/metrics.md)."""

import json
import re
from typing import NamedTuple

from .paths import REPO

CHART = REPO / "helm" / "qmasq-monitoring"
DASHBOARDS = CHART / "dashboards"
RULES = sorted((CHART / "rules").glob("*.yml"))
LIST = REPO / "docs" / "metrics.md"

# What Prometheus itself adds.
OWN_METRICS = {"up", "ALERTS"}
OWN_LABELS = {"instance", "job", "le"}

_IDENTIFIER = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}


class Metric(NamedTuple):
    """A row of docs/metrics.md."""

    name: str
    type: str  # counter, gauge or histogram
    labels: frozenset


class Query(NamedTuple):
    """One expression of a panel. `limit`: drawn as a limit (dashed)."""

    dashboard: str
    panel: str
    ref: str
    expression: str
    instant: bool
    legend: str
    limit: bool

    @property
    def key(self):
        """Names the query in messages and in saved results."""
        return f"{self.dashboard}: {self.panel}: {self.ref}"


class Selector(NamedTuple):
    """A metric as an expression asks for it."""

    name: str
    labels: frozenset  # that are matched


def declared():
    """Name -> Metric of every row of docs/metrics.md."""
    found = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        row = re.fullmatch(r"\| `(qmasq_\w+)` \| (counter|gauge|histogram) \| (-|`\w+`(?:, `\w+`)*) \| .+ \|", line)
        if row:
            if row.group(1) in found:
                raise ValueError(f"{LIST.name} has {row.group(1)} twice")
            found[row.group(1)] = Metric(row.group(1), row.group(2), frozenset(re.findall(r"`(\w+)`", row.group(3))))
        elif line.startswith("| `"):
            raise ValueError(f"{LIST.name}: no row of a metric: {line}")
    return found


def resolve(name, metrics):
    """The declared metric that a series name belongs to, or None: a histogram has several."""
    if name in metrics:
        return metrics[name]
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return metrics[base] if base != name and base in metrics and metrics[base].type == "histogram" else None


def load():
    """File name without suffix -> dashboard."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard):
    """All panels that draw something."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def limits(panel):
    """refIds of the queries that the panel draws dashed."""
    return {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]
            if any(each["id"] == "custom.lineStyle" for each in override["properties"])}


def queries(name, dashboard):
    """Every expression of a dashboard's panels."""
    for panel in panels(dashboard):
        dashed = limits(panel)
        for target in panel["targets"]:
            yield Query(name, panel["title"], target["refId"], target["expr"], target["instant"],
                        target["legendFormat"], target["refId"] in dashed)


def variables(dashboard):
    """Name of a variable that is asked of Prometheus -> (selector, label)."""
    found = {}
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"])
            if not asked:
                raise ValueError(f"variable {each['name']}: not label_values(SELECTOR, LABEL)")
            found[each["name"]] = asked.groups()
    return found


def fill(expression, rate_interval="1m", time_range="1h", **values):
    """The expression with its variables filled in; those that are not given are All."""
    expression = expression.replace("$__rate_interval", rate_interval).replace("$__range", time_range)

    def value(found):
        return values.get(found.group(1), ".*")

    return re.sub(r"\$(\w+)", value, expression)


def selectors(expression):
    """Every metric that an expression names, with the labels it matches."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", text)
    found, at = [], 0
    while True:
        word = _IDENTIFIER.search(text, at)
        if not word:
            return found
        at = word.end()
        if word.start() and text[word.start() - 1].isdigit():
            continue  # the unit of a duration, or an exponent
        rest = text[at:].lstrip()
        if word.group() in _WORDS or rest.startswith("("):
            continue
        labels = frozenset()
        if rest.startswith("{"):
            end = text.index("}", at)
            labels = frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", text[at:end]))
            at = end + 1
        found.append(Selector(word.group(), labels))


def recorded(rules):
    """Names that recording rules give, of the text of rule files."""
    return set(re.findall(r"(?m)^\s*- record: (\S+)$", rules))
