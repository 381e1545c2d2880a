# SPDX-License-Identifier: Apache-2.0
"""Grafana's dashboard model, as far as ours go: queries, panels, rows, variables.

Every panel has a title, a description that says how to read it, and a unit.
"""

SCHEMA_VERSION = 41  # Grafana 12; older ones from 10 on read it too
COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Units by Grafana's names.
BITS = "bps"
BYTES = "bytes"
SECONDS = "s"
SHARE = "percentunit"
COUNT = "short"
PER_SECOND = "ops"
PACKETS = "pps"

GREEN, YELLOW, RED, TEXT = "green", "yellow", "red", "text"


class Query:
    """One PromQL expression. `limit`: a line that others are held against, drawn dashed."""

    def __init__(self, expression, legend="", limit=False):
        self.expression = " ".join(expression.split())
        self.legend = legend
        self.limit = limit

    def target(self, ref, instant, table):
        """As Grafana keeps it."""
        return {
            "datasource": _DATASOURCE, "editorMode": "code", "expr": self.expression,
            "format": "table" if table else "time_series", "instant": instant, "range": not instant,
            "legendFormat": self.legend, "refId": ref,
        }


def _ref(index):
    return "ABCDEFGHIJ"[index]


class Panel:
    """What all kinds have; `width` and `height` in Grafana's grid."""

    kind = ""
    instant = False
    table = False

    def __init__(self, title, description, unit, queries, width=12, height=8):
        self.title, self.description, self.unit = title, " ".join(description.split()), unit
        self.queries = [query if isinstance(query, Query) else Query(query) for query in queries]
        self.width, self.height = width, height

    def json(self, number, x, y):
        """The panel at a place."""
        return {
            "id": number, "type": self.kind, "title": self.title, "description": self.description,
            "datasource": _DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": [query.target(_ref(i), self.instant, self.table)
                        for i, query in enumerate(self.queries)],
            **self.more(),
        }

    def defaults(self):
        """fieldConfig.defaults."""
        return {"unit": self.unit}

    def overrides(self):
        """fieldConfig.overrides."""
        return []

    def options(self):
        """What only this kind has."""
        return {}

    def more(self):
        """Further keys of the panel."""
        return {}


class Graph(Panel):
    """Lines over time."""

    kind = "timeseries"

    def __init__(self, *args, stacked=False, **more):
        super().__init__(*args, **more)
        self.stacked = stacked

    def defaults(self):
        return {
            "unit": self.unit, "min": 0, "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if self.stacked else 8,
                "showPoints": "never", "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            },
        }

    def overrides(self):
        return [{
            "matcher": {"id": "byFrameRefID", "options": _ref(i)},
            "properties": [
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 6]}},
                {"id": "custom.fillOpacity", "value": 0},
                {"id": "custom.stacking", "value": {"mode": "none", "group": "A"}},
            ],
        } for i, query in enumerate(self.queries) if query.limit]

    def options(self):
        return {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True,
                       "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


class Number(Panel):
    """One figure. `steps`: colours from a value on, the first from anything."""

    kind = "stat"
    instant = True

    def __init__(self, title, description, unit, query, steps=((None, TEXT),), width=4, height=4):
        super().__init__(title, description, unit, [query], width, height)
        self.steps = steps

    def defaults(self):
        return {
            "unit": self.unit,
            "thresholds": {"mode": "absolute",
                           "steps": [{"value": value, "color": color} for value, color in self.steps]},
            "color": {"mode": "thresholds"},
        }

    def options(self):
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "value",
        }


class Bars(Number):
    """Each series as a bar up to `most`, coloured by its value."""

    kind = "bargauge"

    def __init__(self, title, description, unit, query, steps, most=1, width=12, height=8):
        super().__init__(title, description, unit, query, steps, width, height)
        self.most = most

    def defaults(self):
        return {**super().defaults(), "min": 0, "max": self.most}

    def options(self):
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "horizontal", "displayMode": "gradient", "showUnfilled": True,
            "valueMode": "color",
        }


class Table(Panel):
    """The newest values. `columns`: label or "Value" (of the only query), "Value #A", ... -> heading,
    in their order. `words`: value -> (word, colour) for columns that say more in words."""

    kind = "table"
    instant = True
    table = True

    def __init__(self, title, description, unit, queries, columns, words=None, width=12, height=8):
        super().__init__(title, description, unit, queries, width, height)
        self.columns, self.words = columns, words

    def defaults(self):
        defaults = {"unit": self.unit, "custom": {"align": "auto", "cellOptions": {"type": "auto"}}}
        if self.words:
            defaults["custom"]["cellOptions"] = {"type": "color-text"}
            defaults["mappings"] = [{"type": "value", "options": {
                str(value): {"text": word, "color": color, "index": index}
                for index, (value, (word, color)) in enumerate(self.words.items())}}]
        return defaults

    def options(self):
        return {"showHeader": True, "cellHeight": "sm"}

    def more(self):
        hidden = {"Time": True, "__name__": True, "job": True}
        organize = {
            "id": "organize",
            "options": {"excludeByName": hidden, "renameByName": dict(self.columns),
                        "indexByName": {name: index for index, name in enumerate(self.columns)}},
        }
        merge = [{"id": "merge", "options": {}}] if len(self.queries) > 1 else []
        return {"transformations": [*merge, organize]}


def variable(name, label, query, description):
    """A choice of label values, several or all of them."""
    return {
        "name": name, "label": label, "description": description, "type": "query",
        "datasource": _DATASOURCE, "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "regex": "", "hide": 0,
    }


def dashboard(uid, title, description, variables, rows, span="now-1h"):
    """A dashboard; `rows` is a list of (title, panels), filled from the left."""
    datasource = {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "description": "The Prometheus that scrapes qmasq", "current": {}, "options": [],
        "refresh": 1, "regex": "", "multi": False, "includeAll": False, "hide": 0,
    }
    return {
        "uid": uid, "title": title, "description": description, "tags": ["qmasq"], "editable": True,
        "schemaVersion": SCHEMA_VERSION, "version": 1, "refresh": "30s", "timezone": "browser",
        "time": {"from": span, "to": "now"}, "graphTooltip": 1, "fiscalYearStartMonth": 0,
        "annotations": {"list": []}, "templating": {"list": [datasource, *variables]},
        "links": [{"title": "qmasq", "type": "dashboards", "tags": ["qmasq"], "asDropdown": False,
                   "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
                   "tooltip": "", "url": ""}],
        "panels": _place(rows),
    }


def _place(rows):
    panels, y = [], 0
    for title, members in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False,
                       "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": []})
        y += 1
        x = tallest = 0
        for panel in members:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x += panel.width
            tallest = max(tallest, panel.height)
        y += tallest
    return panels
