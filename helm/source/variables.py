# SPDX-License-Identifier: Apache-2.0
"""The choices that dashboards share, and the selectors made of them."""

from grafana import variable

on_host = 'instance=~"$host"'
on_vpc = on_host + ',vpc=~"$vpc"'
on_endpoint = on_vpc + ',endpoint=~"$endpoint"'

HOST = variable("host", "Host", 'label_values(qmasq_build_info{program="qmasq-vbond"}, instance)',
                "The agent's `instance` in Prometheus: one for each host")
# Every endpoint has these from the moment it is on a host, with or without limits.
VPC = variable("vpc", "VPC", "label_values(qmasq_vbond_quota_used, vpc)", "VPCs with an endpoint on any host")
ENDPOINT = variable("endpoint", "Endpoint", f"label_values(qmasq_vbond_quota_used{{{on_vpc}}}, endpoint)",
                    "Endpoints of these VPCs on these hosts")
