# SPDX-License-Identifier: Apache-2.0
"""Dashboard "Tenants: QoS": who uses how much of which NIC, against which limit."""

from grafana import (BITS, BYTES, COUNT, GREEN, PACKETS, PER_SECOND, RED, SECONDS, SHARE, TEXT, YELLOW, Bars, Graph,
                     Number, Query, Table, dashboard)
from variables import ENDPOINT, HOST, VPC, on_endpoint, on_host, on_vpc

_E = "instance, nic, vpc, endpoint"
_V = "instance, nic, vpc"
_OF_ENDPOINT = "{{vpc}}/{{endpoint}} on {{instance}} {{nic}}"
_OF_VPC = "{{vpc}} on {{instance}} {{nic}}"
_OF_NIC = "{{instance}} {{nic}}"
_ALARM = ((None, GREEN), (1, RED))
_FILLING = ((None, GREEN), (0.75, YELLOW), (0.9, RED))


def _rate(by, metric, selector):
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _against_limits(by, metric, limit, selector, legend):
    """Observed, guaranteed and maximum, in bits as policies are written."""
    def line(kind):
        return Query(f'8 * sum by ({by}) ({limit}{{{selector},limit="{kind}"}})', f"{legend}: {kind}", limit=True)

    return [Query("8 * " + _rate(by, metric, selector), legend), line("guaranteed"), line("maximum")]


_GLANCE = [
    Number("Limits not enforced", """Endpoints and VPCs with a limit that no backend enforces. Above 0: see the table
           "Limits and who enforces them" and `qmasq qos show`.""", COUNT,
           f"""(count(qmasq_vbond_qos_limits_enforced{{{on_endpoint}}} == 0) or vector(0))
           + (count(qmasq_vbond_qos_vpc_limits_enforced{{{on_vpc}}} == 0) or vector(0))""", _ALARM),
    Number("Below guarantee", """Endpoints that sent less than nine tenths of their guarantee over five minutes
           although packets were waiting for more than half of that time: they wanted more.""", COUNT,
           f"""count(endpoint:qmasq_guarantee:ratio_rate5m{{{on_endpoint}}} < 0.9
           and endpoint:qmasq_throttled:rate5m{{{on_endpoint}}} > 0.5) or vector(0)""", _ALARM),
    Number("VPCs at their maximum", """VPCs that sent more than 95 % of their maximum on a host over five minutes.""",
           COUNT, f"count(vpc:qmasq_maximum:ratio_rate5m{{{on_vpc}}} > 0.95) or vector(0)",
           ((None, GREEN), (1, YELLOW))),
    Number("Most promised of a NIC", """Sum of the guarantees on a NIC against its rate, the fullest NIC. Above 100 %
           not all promises can be kept at once.""", SHARE, f"max(nic:qmasq_guaranteed:ratio{{{on_host}}})",
           ((None, GREEN), (0.9, YELLOW), (1.0001, RED))),
    Number("Fullest quota", """The quota that is closest to its limit, of endpoints and VPCs.""", SHARE,
           f"max(endpoint:qmasq_quota:ratio{{{on_endpoint}}} or vpc:qmasq_quota:ratio{{{on_vpc}}})", _FILLING),
    Number("Calls refused", """Calls refused for a quota (EDQUOT) or a verb rate (EAGAIN) in the time shown.""", COUNT,
           f"""round((sum(increase(qmasq_vbond_quota_refusals_total{{{on_endpoint}}}[$__range])) or vector(0))
           + (sum(increase(qmasq_vbond_verb_rate_admissions_total{{{on_endpoint},result="refused"}}[$__range]))
           or vector(0)))""", ((None, TEXT), (1, YELLOW))),
]

_VPCS = [
    Graph("VPCs: egress against guarantee and maximum", """What the endpoints of a VPC on a host send together, and
          what the VPC's policy promises and allows there (dashed). Ethernet frames, as the limits count
          them.""", BITS,
          _against_limits(_V, "qmasq_vbond_qos_vpc_egress_bytes_total", "qmasq_vbond_qos_vpc_limit_bytes_per_second",
                          on_vpc, _OF_VPC), height=10),
    Graph("Share of the NIC", """Each VPC's part of what its NIC has to share out, and what is nobody's: the host's own
          RDMA and datagrams of tenants. Stacked: the top is the NIC's load.""", SHARE, [
              Query(_rate(_V, "qmasq_vbond_qos_vpc_egress_bytes_total", on_vpc) + f"""
                    / on (instance, nic) group_left () sum by (instance, nic)
                    (qmasq_vbond_qos_nic_rate_bytes_per_second{{{on_host}}})""", _OF_VPC),
              Query(_rate("instance, nic", "qmasq_vbond_qos_other_egress_bytes_total", on_host) + f"""
                    / on (instance, nic) sum by (instance, nic)
                    (qmasq_vbond_qos_nic_rate_bytes_per_second{{{on_host}}})""", "nobody's on " + _OF_NIC),
          ], stacked=True, height=10),
    Graph("VPCs: time throttled", """Part of the time in which packets of the VPC had to wait for a limit. 100 %: it
          always wants more than it may have.""", SHARE,
          [Query(_rate(_V, "qmasq_vbond_qos_vpc_throttled_seconds_total", on_vpc), _OF_VPC)]),
    Graph("VPCs: drops", """Packets dropped because too many waited. RDMA pays for each with a retransmission.""",
          PACKETS, [Query(_rate(_V, "qmasq_vbond_qos_vpc_drops_total", on_vpc), _OF_VPC)]),
    Graph("VPCs: packets", """Packets sent.""", PACKETS,
          [Query(_rate(_V, "qmasq_vbond_qos_vpc_egress_packets_total", on_vpc), _OF_VPC)]),
    Graph("VPCs: waits for a limit", """Times that packets of the VPC had to wait, its own limit's or the NIC's.""",
          PER_SECOND, [Query(_rate(_V, "qmasq_vbond_qos_vpc_overlimits_total", on_vpc), _OF_VPC)]),
]

_ENDPOINTS = [
    Graph("Endpoints: egress against guarantee and maximum", """What an endpoint sends, and what its own policy
          promises and allows (dashed). Its VPC's limits apply as well. Ethernet frames, as the limits count
          them.""", BITS,
          _against_limits(_E, "qmasq_vbond_qos_egress_bytes_total", "qmasq_vbond_qos_limit_bytes_per_second",
                          on_endpoint, _OF_ENDPOINT), height=10),
    Graph("Endpoints: time throttled", """Part of the time in which packets of the endpoint had to wait for a limit,
          its own or its VPC's.""", SHARE,
          [Query(_rate(_E, "qmasq_vbond_qos_throttled_seconds_total", on_endpoint), _OF_ENDPOINT)], height=10),
    Graph("Endpoints: drops", """Packets dropped because too many waited.""", PACKETS,
          [Query(_rate(_E, "qmasq_vbond_qos_drops_total", on_endpoint), _OF_ENDPOINT)]),
    Graph("Endpoints: waiting now", """Bytes in the queue of the endpoint.""", BYTES,
          [Query(f"sum by ({_E}) (qmasq_vbond_qos_backlog_bytes{{{on_endpoint}}})", _OF_ENDPOINT)]),
    Graph("Endpoints: packets", """Packets sent.""", PACKETS,
          [Query(_rate(_E, "qmasq_vbond_qos_egress_packets_total", on_endpoint), _OF_ENDPOINT)]),
    Graph("Endpoints: waits for a limit", """Times that packets of the endpoint had to wait.""", PER_SECOND,
          [Query(_rate(_E, "qmasq_vbond_qos_overlimits_total", on_endpoint), _OF_ENDPOINT)]),
]

_ENFORCED = {1: ("enforced", GREEN), 0: ("NOT ENFORCED", RED)}
_LIMITS = [
    Table("Limits of VPCs and who enforces them", """VPCs with limits on a host. "Not enforced" means that no backend
          holds the VPC to them; `qmasq qos show` says why.""", COUNT,
          [f"sum by ({_V}, backend) (qmasq_vbond_qos_vpc_limits_enforced{{{on_vpc}}})"],
          {"instance": "Host", "nic": "NIC", "vpc": "VPC", "backend": "Backend", "Value": "State"}, _ENFORCED),
    Table("Limits of endpoints and who enforces them", """Endpoints with limits of their own.""", COUNT,
          [f"sum by ({_E}, backend) (qmasq_vbond_qos_limits_enforced{{{on_endpoint}}})"],
          {"instance": "Host", "nic": "NIC", "vpc": "VPC", "endpoint": "Endpoint", "backend": "Backend",
           "Value": "State"}, _ENFORCED),
]

_NICS = [
    Graph("NICs: RDMA against rate and promises", """All RDMA that a NIC sends, what is shared out of it, and the sum
          of the guarantees (dashed).""", BITS, [
              Query("8 * " + _rate("instance, nic", "qmasq_vbond_qos_nic_egress_bytes_total", on_host), _OF_NIC),
              Query(f"8 * sum by (instance, nic) (qmasq_vbond_qos_nic_rate_bytes_per_second{{{on_host}}})",
                    _OF_NIC + ": rate", limit=True),
              Query(f"8 * sum by (instance, nic) (qmasq_vbond_qos_nic_guaranteed_bytes_per_second{{{on_host}}})",
                    _OF_NIC + ": guaranteed", limit=True)]),
    Graph("NICs: the device's own counters", """The ten counters of the devices' drivers that move fastest, by the
          drivers' names.""", PER_SECOND,
          [Query(f"""topk(10, sum by (instance, nic, counter)
                 (rate(qmasq_vbond_nic_hw_events_total{{{on_host}}}[$__rate_interval])))""",
                 "{{counter}} on " + _OF_NIC)]),
    Graph("Nodes of the limits tree", """Nodes that policies ask for and nodes that the backend has. Apart for long: a
          change could not be programmed.""", COUNT,
          [Query(f"sum by (instance, nic, state) (qmasq_vbond_qos_nodes{{{on_host}}})", "{{state}} on " + _OF_NIC)],
          width=8),
    Graph("Changes sent to the backend", """Steps by result. Errors are tried again; the agent's events say what
          failed.""", PER_SECOND,
          [Query(_rate("instance, nic, result", "qmasq_vbond_qos_steps_total", on_host), "{{result}} on " + _OF_NIC)],
          width=8),
    Graph("From a change to its limits", """From a change's arrival at the agent until the backend has
          it.""", SECONDS, [
        Query(f"""histogram_quantile({quantile}, sum by (instance, le)
              (rate(qmasq_vbond_qos_program_seconds_bucket{{{on_host}}}[$__rate_interval])))""",
              f"{name} on {{{{instance}}}}") for quantile, name in ((0.5, "median"), (0.99, "p99"))], width=8),
]

_OF_RESOURCE = "{{vpc}}/{{endpoint}} on {{instance}}: {{resource}}"
_QUOTAS = [
    Bars("Endpoints: fullest quotas", """Objects and pinned memory against what the endpoint may have. At 100 % the
         next call is refused with EDQUOT.""", SHARE,
         Query(f"topk(10, endpoint:qmasq_quota:ratio{{{on_endpoint}}})", _OF_RESOURCE), _FILLING),
    Bars("VPCs: fullest quotas", """The same of all endpoints of a VPC on a host together.""", SHARE,
         Query(f"topk(10, vpc:qmasq_quota:ratio{{{on_vpc}}})", "{{vpc}} on {{instance}}: {{resource}}"), _FILLING),
    Table("Endpoints: objects", """Objects that endpoints have and may have. No limit: the column is
          empty.""", COUNT, [
        f"sum by (instance, vpc, endpoint, resource) (qmasq_vbond_quota_used{{{on_endpoint}}})",
        f"sum by (instance, vpc, endpoint, resource) (qmasq_vbond_quota_limit{{{on_endpoint}}})"],
          {"instance": "Host", "vpc": "VPC", "endpoint": "Endpoint", "resource": "Resource", "Value #A": "Used",
           "Value #B": "Limit"}),
    Table("VPCs: objects", """The same of all endpoints of a VPC on a host together.""", COUNT, [
        f"sum by (instance, vpc, resource) (qmasq_vbond_quota_vpc_used{{{on_vpc}}})",
        f"sum by (instance, vpc, resource) (qmasq_vbond_quota_vpc_limit{{{on_vpc}}})"],
          {"instance": "Host", "vpc": "VPC", "resource": "Resource", "Value #A": "Used", "Value #B": "Limit"}),
    Graph("Pinned memory", """Memory of the memory regions of endpoints and VPCs, and what it may be
          (dashed).""", BYTES, [
        Query(f"sum by (instance, vpc, endpoint) (qmasq_vbond_quota_pinned_bytes{{{on_endpoint}}})",
              "{{vpc}}/{{endpoint}} on {{instance}}"),
        Query(f"sum by (instance, vpc, endpoint) (qmasq_vbond_quota_pinned_limit_bytes{{{on_endpoint}}})",
              "{{vpc}}/{{endpoint}} on {{instance}}: limit", limit=True),
        Query(f"sum by (instance, vpc) (qmasq_vbond_quota_vpc_pinned_bytes{{{on_vpc}}})", "{{vpc}} on {{instance}}"),
        Query(f"sum by (instance, vpc) (qmasq_vbond_quota_vpc_pinned_limit_bytes{{{on_vpc}}})",
              "{{vpc}} on {{instance}}: limit", limit=True)], height=10),
    Graph("Refused for a quota", """Calls answered with EDQUOT.""", PER_SECOND,
          [Query(_rate("instance, vpc, endpoint, resource", "qmasq_vbond_quota_refusals_total", on_endpoint),
                 _OF_RESOURCE)], height=10),
]

_OF_VERB = "{{vpc}}/{{endpoint}} on {{instance}}: {{verb}}"
_VERBS = "instance, vpc, endpoint, verb"
_RATES = [
    Graph("Control verbs admitted, against their rate", """Calls that a rate was asked for and that it let pass, and
          the rate (dashed). For a moment there may be more: the burst.""", PER_SECOND, [
              Query(f"""sum by ({_VERBS}) (rate(qmasq_vbond_verb_rate_admissions_total{{{on_endpoint},
                    result="admitted"}}[$__rate_interval]))""", _OF_VERB),
              Query(f"sum by ({_VERBS}) (qmasq_vbond_verb_rate_limit{{{on_endpoint}}})", _OF_VERB + ": limit",
                    limit=True)], height=10),
    Graph("Control verbs refused by their rate", """Calls answered with EAGAIN. A program that does this for long is
          broken, or its rate too low.""", PER_SECOND,
          [Query(f"""sum by ({_VERBS}) (rate(qmasq_vbond_verb_rate_admissions_total{{{on_endpoint},
                 result="refused"}}[$__rate_interval]))""", _OF_VERB)], height=10),
]

DASHBOARD = dashboard(
    "qmasq-tenants-qos", "qmasq: Tenants: QoS",
    "Who uses how much of which NIC, against which limit; quotas and verb rates.",
    [VPC, HOST, ENDPOINT],
    [("At a glance", _GLANCE), ("VPCs on each host", _VPCS), ("Endpoints", _ENDPOINTS), ("Limits", _LIMITS),
     ("NICs", _NICS), ("Quotas", _QUOTAS), ("Verb rates", _RATES)])
