# SPDX-License-Identifier: Apache-2.0
"""Dashboard "Connections and security": what was admitted, refused and cut, and how fast."""

from grafana import COUNT, GREEN, PER_SECOND, RED, SECONDS, SHARE, TEXT, YELLOW, Graph, Number, Query, Table, dashboard
from variables import ENDPOINT, HOST, VPC, on_endpoint, on_host

_OF_ENDPOINT = "{{vpc}}/{{endpoint}} on {{instance}}"
_E = "instance, vpc, endpoint"


def _rate(by, metric, selector):
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _in_time(metric, selector):
    return f"round(sum(increase({metric}{{{selector}}}[$__range]))) or vector(0)"


def _cut_quantile(quantile):
    return f"""histogram_quantile({quantile}, sum by (instance, le)
               (rate(qmasq_vbond_conntrack_cut_seconds_bucket{{{on_host}}}[$__rate_interval])))"""


_GLANCE = [
    Number("Connections now", """Queue pairs of tenants that have a peer, and address handles of datagrams. Of the
           hosts, all VPCs.""", COUNT, f"sum(qmasq_vbond_rename_connections{{{on_host}}})"),
    Number("Connects", """Queue pairs connected in a second, all VPCs.""", PER_SECOND,
           f"sum(rate(qmasq_vbond_rename_connects_total{{{on_host}}}[$__rate_interval]))"),
    Number("Refused by rules", """Part of the connections asked for in the time shown that security groups refused.
           High after a change of rules: somebody lost what he needs. High always: somebody scans.""", SHARE,
           f"""(sum(increase(qmasq_vbond_conntrack_verdicts_total{{{on_endpoint},verdict="forbidden"}}[$__range]))
           / (sum(increase(qmasq_vbond_conntrack_verdicts_total{{{on_endpoint}}}[$__range])) > 0)) or vector(0)""",
           ((None, GREEN), (0.05, YELLOW), (0.25, RED))),
    Number("Cut", """Queue pairs put into the error state in the time shown, because rules, addresses or endpoints
           changed.""", COUNT, _in_time("qmasq_vbond_conntrack_cuts_total", on_endpoint), ((None, TEXT), (1, YELLOW))),
    Number("Narrowed", """Queue pairs that got other access flags in the time shown, because rules changed.""", COUNT,
           _in_time("qmasq_vbond_conntrack_narrowed_total", on_endpoint)),
    Number("Shadow hits", """Connections in the time shown that a shadow rule would have decided. 0 for long enough:
           the rule can be enforced without harm.""", COUNT,
           _in_time("qmasq_vbond_conntrack_shadow_hits_total", on_endpoint)),
]

_CONNECTIONS = [
    Graph("Connections", """Queue pairs with a peer (and address handles), and those kept in step with the
          rules.""", COUNT, [
        Query(f"sum by (instance) (qmasq_vbond_rename_connections{{{on_host}}})", "with a peer on {{instance}}"),
        Query(f"sum by (instance) (qmasq_vbond_conntrack_connections{{{on_host}}})", "under rules on {{instance}}")]),
    Graph("Connects and disconnects", """Queue pairs connected, and connected ones that were reset, destroyed or
          closed.""", PER_SECOND, [
              Query(_rate("instance", "qmasq_vbond_rename_connects_total", on_host), "connects on {{instance}}"),
              Query(_rate("instance", "qmasq_vbond_rename_disconnects_total", on_host),
                    "disconnects on {{instance}}")]),
    Graph("Queue pairs by state", """The state last seen. The NIC moves a queue pair to `error` by itself, which shows
          once the tenant asks.""", COUNT,
          [Query(f"sum by (state) (qmasq_vbond_rename_queue_pairs{{{on_host}}})", "{{state}}")], stacked=True),
    Graph("Groups and rules held", """Security groups that the agents hold, and their rules.""", COUNT, [
        Query(f"sum by (instance) (qmasq_vbond_conntrack_groups{{{on_host}}})", "groups on {{instance}}"),
        Query(f"sum by (instance) (qmasq_vbond_conntrack_rules{{{on_host}}})", "rules on {{instance}}")]),
]

_VERDICTS = [
    Graph("Verdicts", """What was said to connections that endpoints asked for. `forbidden`: by rules; `gone`: the peer
          changed meanwhile; `limit`: too many of the VPC on this host.""", PER_SECOND,
          [Query(_rate("verdict", "qmasq_vbond_conntrack_verdicts_total", on_endpoint), "{{verdict}}")]),
    Graph("Not admitted, by endpoint", """Who asks for what it may not have.""", PER_SECOND,
          [Query(_rate(_E + ", verdict", "qmasq_vbond_conntrack_verdicts_total",
                       on_endpoint + ',verdict!="admitted"'), "{{verdict}}: " + _OF_ENDPOINT)]),
    Graph("Shadow hits by endpoint", """Connections that a shadow rule would have decided.""", PER_SECOND,
          [Query(_rate(_E, "qmasq_vbond_conntrack_shadow_hits_total", on_endpoint), _OF_ENDPOINT)]),
    Table("Top refusals", """Verbs that named a peer and were refused, in the time shown: EACCES by rules, EHOSTUNREACH
          no such address in the VPC, EINVAL bad arguments. `qmasq events --type refused` has the reason of
          each.""", COUNT,
          [f"""topk(10, round(sum by (instance, verb, errno)
           (increase(qmasq_vbond_rename_refusals_total{{{on_host}}}[$__range]))))"""],
          {"instance": "Host", "verb": "Verb", "errno": "Answer", "Value": "Refusals"}),
]

_CHANGES = [
    Graph("Cuts by cause", """`rules`: no longer admitted; `own-gone`, `peer-gone`, `peer-moved`: an endpoint or its
          address is not there any more.""", PER_SECOND,
          [Query(_rate("cause", "qmasq_vbond_conntrack_cuts_total", on_endpoint), "{{cause}}")]),
    Graph("Cuts by endpoint", """Whose queue pairs were put into the error state.""", PER_SECOND,
          [Query(_rate(_E, "qmasq_vbond_conntrack_cuts_total", on_endpoint), _OF_ENDPOINT)]),
    Graph("Cut latency", """From a change's arrival at the agent to its last queue pair in the error
          state.""", SECONDS, [
        Query(_cut_quantile(0.5), "median on {{instance}}"), Query(_cut_quantile(0.99), "p99 on {{instance}}")]),
    Graph("Narrowed, and looked at again", """Queue pairs that got other access flags, and connections that a change
          made the agent look at again: the work of changes.""", PER_SECOND, [
              Query(_rate(_E, "qmasq_vbond_conntrack_narrowed_total", on_endpoint), "narrowed: " + _OF_ENDPOINT),
              Query(_rate("instance", "qmasq_vbond_conntrack_reevaluations_total", on_host),
                    "looked at again on {{instance}}")]),
]

_REFUSED = [
    Graph("Verbs refused", """Calls that are not offered or not allowed, the ten most frequent by name.""", PER_SECOND,
          [Query(f"""topk(10, sum by (verb)
                 (rate(qmasq_vbond_verbs_total{{{on_host},verdict="refused"}}[$__rate_interval])))""", "{{verb}}")]),
    Graph("Signs of a hostile program", """Calls without a sound header, on devices that the program did not open, and
          plain writes. An ordinary program makes none of them.""", PER_SECOND,
          [Query(f"""sum by (instance, verb) (rate(qmasq_vbond_verbs_total{{{on_host},
                 verb=~"UNDECODABLE|FOREIGN_DEVICE|WRITE",verdict!="passed"}}[$__rate_interval]))""",
                 "{{verb}} on {{instance}}")]),
]

DASHBOARD = dashboard(
    "qmasq-connections-security", "qmasq: Connections and security",
    "Connections, verdicts of security groups, cuts, refusals.",
    [VPC, HOST, ENDPOINT],
    [("At a glance", _GLANCE), ("Connections", _CONNECTIONS), ("Verdicts", _VERDICTS),
     ("What changes did", _CHANGES), ("Refused at the trap", _REFUSED)])
