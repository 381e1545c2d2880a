# SPDX-License-Identifier: Apache-2.0
"""Dashboard "Fleet health": hosts, their agents and the controller."""

from grafana import (BYTES, COUNT, GREEN, PER_SECOND, RED, SECONDS, SHARE, YELLOW, Graph, Number, Query, Table,
                     dashboard)
from variables import HOST, on_host

_ALARM = ((None, GREEN), (1, RED))
# A doorbell is data, not control, and on software NICs there are more of them than of all else.
_CONTROL = on_host + ',verb!="DOORBELL"'


def _rate(by, metric, selector):
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _quantile(quantile, by, histogram, selector):
    """Of those that had any observation: an idle one has no quantile."""
    return f"""histogram_quantile({quantile}, {_rate(by + ', le', histogram + '_bucket', selector)})
               and on ({by}) {_rate(by, histogram + '_count', selector)} > 0"""


def _quantile_of_all(quantile):
    return f"""histogram_quantile({quantile}, sum by (le)
               (rate(qmasq_vbond_verb_seconds_bucket{{{_CONTROL}}}[$__rate_interval])))"""


_GLANCE = [
    Number("Hosts online", """Hosts whose agents the controller hears.""", COUNT,
           'sum(qmasq_controller_hosts{state="online"})'),
    Number("Hosts offline", """Nothing heard for three heartbeats. What runs there goes on; it gets no
           changes.""", COUNT,
           'sum(qmasq_controller_hosts{state="offline"})', _ALARM),
    Number("Agents at the newest revision", """Part of the agents that have applied what the controller has. Below 100
           % for more than moments: see "Revisions behind".""", SHARE,
           f"""count(qmasq_vbond_sync_held_revision{{{on_host}}} >= on () group_left () max(qmasq_controller_revision))
           / count(qmasq_vbond_sync_held_revision{{{on_host}}}) or vector(0)""",
           ((None, RED), (0.9, YELLOW), (1, GREEN))),
    Number("Agents not in sync", """Agents that have not had all state since they started: they refuse connections with
           EAGAIN.""", COUNT, f"count(qmasq_vbond_sync_in_sync{{{on_host}}} == 0) or vector(0)", _ALARM),
    Number("Overlay faults", """Bridges, VXLAN devices, ports and entries that are not as they should be. The status of
           the endpoints says which and why.""", COUNT, f"sum(qmasq_vbond_overlay_faults{{{on_host}}})", _ALARM),
    Number("Alerts firing", """Of the rules that come with these dashboards.""", COUNT,
           'count(ALERTS{alertname=~"Qmasq.*",alertstate="firing"}) or vector(0)', _ALARM),
]

_HOSTS = [
    Graph("Hosts by state", """As the controller knows their agents. `never_joined`: created by an administrator, no
          agent came yet.""", COUNT, [Query("sum by (state) (qmasq_controller_hosts)", "{{state}}")], stacked=True),
    Graph("Revisions behind", """Newest revision that the controller spoke of, less the newest that the agent applied.
          Above 0 for long: a batch was rejected.""", COUNT,
          [Query(f"sum by (instance) (qmasq_vbond_sync_lag_revisions{{{on_host}}})", "{{instance}}")]),
    Graph("Agents connected and in sync", """1: yes. `in sync` stays 1 while the controller is away, because what is
          held goes on being used.""", COUNT, [
              Query(f"sum by (instance) (qmasq_vbond_sync_connected{{{on_host}}})", "connected: {{instance}}"),
              Query(f"sum by (instance) (qmasq_vbond_sync_in_sync{{{on_host}}})", "in sync: {{instance}}")]),
    Graph("Batches and streams at the agents", """Batches of changes by result, and attempts to open the stream.""",
          PER_SECOND, [
              Query(_rate("result", "qmasq_vbond_sync_batches_total", on_host), "batches {{result}}"),
              Query(_rate("result", "qmasq_vbond_sync_streams_total", on_host), "streams {{result}}")]),
    Table("NICs", """RDMA devices that may be used, and of these those with a usable address. A host where none is
          usable takes no programs.""", COUNT, [
              f'sum by (instance) (qmasq_vbond_nic_devices{{{on_host},state="active"}})',
              f'sum by (instance) (qmasq_vbond_nic_devices{{{on_host},state="down"}})',
              f"sum by (instance) (qmasq_vbond_nic_usable{{{on_host}}})"],
          {"instance": "Host", "Value #A": "Port active", "Value #B": "Port down", "Value #C": "Usable"}, width=8),
    Graph("NICs found and lost", """Devices that appeared or went.""", PER_SECOND,
          [Query(_rate("instance, change", "qmasq_vbond_nic_changes_total", on_host), "{{change}} on {{instance}}")],
          width=8),
    Table("Versions", """What runs where.""", COUNT,
          ["count by (instance, program, version) (qmasq_build_info)"],
          {"instance": "Host", "program": "Program", "version": "Version", "Value": "Running"}, width=8),
]

_TRAPS = [
    Graph("Trap latency of all control verbs", """From the agent's waking to its answer, the kernel's work included.
          Doorbells are not in it.""", SECONDS,
          [Query(_quantile_of_all(0.5), "median"), Query(_quantile_of_all(0.9), "p90"),
           Query(_quantile_of_all(0.99), "p99")]),
    Graph("Trap latency by verb: p99", """The ten slowest verbs. One that is slow on one host only: look at that host's
          kernel and NIC.""", SECONDS,
          [Query(f"topk(10, {_quantile(0.99, 'verb', 'qmasq_vbond_verb_seconds', _CONTROL)})", "{{verb}}")]),
    Graph("Trap latency by verb: median", """The same, median.""", SECONDS,
          [Query(f"topk(10, {_quantile(0.5, 'verb', 'qmasq_vbond_verb_seconds', _CONTROL)})", "{{verb}}")]),
    Graph("Trap latency by host: p99", """All control verbs.""", SECONDS,
          [Query(_quantile(0.99, "instance", "qmasq_vbond_verb_seconds", _CONTROL), "{{instance}}")]),
    Graph("Control verbs by verdict", """`executed`, `answered`, `passed`: done; `refused`: not offered or not allowed;
          `failed`: bad arguments, or the kernel's own error; `gone`: the tenant died.""", PER_SECOND,
          [Query(_rate("verdict", "qmasq_vbond_verbs_total", _CONTROL), "{{verdict}}")], stacked=True),
    Graph("Errors by verb", """Refused and failed, the ten most frequent.""", PER_SECOND,
          [Query(f"""topk(10, sum by (verb, verdict) (rate(qmasq_vbond_verbs_total{{{_CONTROL},
                 verdict=~"refused|failed"}}[$__rate_interval])))""", "{{verb}} {{verdict}}")]),
]

_AGENTS = [
    Graph("Programs, devices, queue pairs", """What tenants have open.""", COUNT, [
        Query(f"sum by (instance) (qmasq_vbond_attachments{{{on_host}}})", "programs on {{instance}}"),
        Query(f"sum by (instance) (qmasq_vbond_contexts{{{on_host}}})", "devices open on {{instance}}"),
        Query(f"sum by (instance) (qmasq_vbond_queue_pairs{{{on_host}}})", "queue pairs on {{instance}}")]),
    Graph("Threads that serve programs", """One for each program while nothing stalls; many more: the kernel holds
          verbs up.""", COUNT,
          [Query(f"sum by (instance) (qmasq_vbond_receivers{{{on_host}}})", "{{instance}}")]),
    Graph("Devices opened and abandoned", """Contexts opened for tenants, and those closed because no process held them
          any more.""", PER_SECOND, [
              Query(_rate("instance", "qmasq_vbond_contexts_opened_total", on_host), "opened on {{instance}}"),
              Query(_rate("instance", "qmasq_vbond_contexts_abandoned_total", on_host), "abandoned on {{instance}}")]),
    Graph("Time spent looking for holders", """Part of the time that the agent searches descriptor tables. More than a
          tenth: tenants open and close devices in loops.""", SHARE, [
              Query(_rate("instance", "qmasq_vbond_holder_scan_seconds_total", on_host), "{{instance}}")]),
    Graph("Map of peers: entries", """Addresses and endpoints that the agent can turn into physical ones.""", COUNT, [
        Query(f"sum by (instance) (qmasq_vbond_rename_map_entries{{{on_host}}})", "addresses on {{instance}}"),
        Query(f"sum by (instance) (qmasq_vbond_rename_map_endpoints{{{on_host}}})", "endpoints on {{instance}}")]),
    Graph("Map of peers: memory", """Memory behind the map; at most 150 bytes an entry in a large one.""", BYTES,
          [Query(f"sum by (instance) (qmasq_vbond_rename_map_bytes{{{on_host}}})", "{{instance}}")]),
]

_OVERLAY = [
    Graph("Overlay objects", """Kernel objects that should be there, and that were put or found there.""", COUNT,
          [Query(f"sum by (kind, state) (qmasq_vbond_overlay_objects{{{on_host}}})", "{{kind}} {{state}}")]),
    Graph("Overlay changes and faults", """Changes sent to the kernel in a second by result, and objects that are not
          as they should be.""", COUNT, [
              Query(_rate("result", "qmasq_vbond_overlay_changes_total", on_host), "changes {{result}} a second"),
              Query(f"sum by (instance) (qmasq_vbond_overlay_faults{{{on_host}}})", "faults on {{instance}}")]),
    Graph("Overlay reconciled", """Passes over the overlay: `full` compares with the kernel, `delta` with what was put
          there last.""", PER_SECOND,
          [Query(_rate("instance, scope", "qmasq_vbond_overlay_reconciles_total", on_host),
                 "{{scope}} on {{instance}}")]),
    Graph("Overlay: the last pass", """How long it took.""", SECONDS,
          [Query(f"max by (instance) (qmasq_vbond_overlay_last_reconcile_seconds{{{on_host}}})", "{{instance}}")]),
]

_CONTROLLER = [
    Graph("Requests by method", """Answered by the controller.""", PER_SECOND,
          [Query("sum by (method) (rate(qmasq_controller_rpc_requests_total[$__rate_interval]))", "{{method}}")]),
    Graph("Requests by answer", """`ok`, or why it was refused.""", PER_SECOND,
          [Query("sum by (code) (rate(qmasq_controller_rpc_requests_total[$__rate_interval]))", "{{code}}")]),
    Graph("Time to answer by method: p99", """Of a change it includes the write to the disk.""", SECONDS,
          [Query("""histogram_quantile(0.99, sum by (method, le)
                 (rate(qmasq_controller_rpc_seconds_bucket[$__rate_interval]))) and on (method)
                 sum by (method) (rate(qmasq_controller_rpc_seconds_count[$__rate_interval])) > 0""", "{{method}}")]),
    Graph("Revisions", """The controller's newest, and what each agent applied.""", COUNT, [
        Query("max(qmasq_controller_revision)", "controller"),
        Query(f"sum by (instance) (qmasq_vbond_sync_held_revision{{{on_host}}})", "{{instance}}")]),
    Graph("Objects", """What the store holds.""", COUNT,
          [Query("sum by (kind) (qmasq_controller_objects)", "{{kind}}")], width=8),
    Graph("Sent to agents", """Batches in a second by kind. Many snapshots: agents that lost their state, or were away
          for long.""", PER_SECOND,
          [Query("sum by (kind) (rate(qmasq_controller_sync_batches_total[$__rate_interval]))", "{{kind}}")], width=8),
    Graph("Bytes sent to agents", """Messages of all sync streams.""", "Bps",
          [Query("sum(rate(qmasq_controller_sync_sent_bytes_total[$__rate_interval]))", "sent")], width=8),
    Graph("Streams", """Agents connected.""", COUNT, [Query("sum(qmasq_controller_sync_streams)", "streams")]),
    Graph("Rejects", """Batches that agents rejected, and reports of hosts about endpoints that are not theirs.""",
          PER_SECOND, [
              Query("sum(rate(qmasq_controller_sync_rejects_total[$__rate_interval]))", "batches rejected"),
              Query("sum(rate(qmasq_controller_sync_reports_refused_total[$__rate_interval]))", "reports refused")]),
]

DASHBOARD = dashboard(
    "qmasq-fleet-health", "qmasq: Fleet health", "Hosts, their agents and the controller.", [HOST],
    [("At a glance", _GLANCE), ("Hosts", _HOSTS), ("Traps", _TRAPS), ("Agents", _AGENTS), ("Overlay", _OVERLAY),
     ("Controller", _CONTROLLER)])
