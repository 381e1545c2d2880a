// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "common/metric_series.h"
#include "common/resource_name.h"

namespace qmasq::vbond {
namespace {

using Kind = qos::NodeId::Kind;
using Labels = MetricLabels;
using prometheus::Counter;
using prometheus::Gauge;
using Counters = MetricSeries<Counter>;
using Gauges = MetricSeries<Gauge>;

prometheus::Family<Counter>& counters(prometheus::Registry& registry, const std::string& name,
                                      const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Family<Gauge>& gauges(prometheus::Registry& registry, const std::string& name,
                                  const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

double bytes_per_second(BitsPerSecond rate) {
  return static_cast<double>(rate.value) / 8;
}

// One series, made when there is something to show and taken away when there is not.
template <typename T>
class Series {
 public:
  T& of(MetricSeries<T>& family, const Labels& labels) {
    if (!held_ || held_.labels() != labels) held_ = family.get(labels);
    return *held_;
  }
  void clear() { held_.reset(); }

 private:
  typename MetricSeries<T>::Handle held_;
};

void set(Series<Counter>& series, Counters& family, const Labels& labels, double total) {
  Counter& counter = series.of(family, labels);
  if (total > counter.Value()) counter.Increment(total - counter.Value());
}

// The families of endpoints, or of VPCs.
struct Level {
  Level(prometheus::Registry& registry, const std::string& prefix)
      : bytes(counters(registry, prefix + "egress_bytes_total",
                       "RDMA sent, bytes of Ethernet frames.")),
        packets(counters(registry, prefix + "egress_packets_total", "RDMA sent, packets.")),
        drops(
            counters(registry, prefix + "drops_total", "Packets dropped because too many waited.")),
        overlimits(counters(registry, prefix + "overlimits_total",
                            "Times that packets had to wait for a limit.")),
        throttled(counters(registry, prefix + "throttled_seconds_total",
                           "Seconds in which packets had to wait, by samples.")),
        limit(gauges(registry, prefix + "limit_bytes_per_second", "What its own policy says.")),
        enforced(gauges(registry, prefix + "limits_enforced",
                        "1: all limits of its own policy are enforced.")) {}
  Counters bytes;
  Counters packets;
  Counters drops;
  Counters overlimits;
  Counters throttled;
  Gauges limit;
  Gauges enforced;
};

struct Row {
  Series<Counter> bytes;
  Series<Counter> packets;
  Series<Counter> drops;
  Series<Counter> overlimits;
  Series<Counter> throttled;
  Series<Gauge> backlog;
  Series<Gauge> guaranteed;
  Series<Gauge> maximum;
  Series<Gauge> enforced;
};

struct NicRows {
  std::map<qos::NodeId, Row> nodes;
  Series<Counter> other_bytes;
  Series<Counter> nic_bytes;
  Series<Gauge> rate;
  Series<Gauge> guaranteed;
  Series<Gauge> planned;
  Series<Gauge> programmed;
  Series<Counter> ok;
  Series<Counter> failed;
  struct Hw {
    Series<Counter> series;
    std::uint64_t last = 0;
  };
  std::map<std::string, Hw> hw;
};

Labels with(Labels labels, const char* key, std::string value) {
  labels[key] = std::move(value);
  return labels;
}

}  // namespace

struct QosMetrics::Impl {
  explicit Impl(prometheus::Registry& registry)
      : endpoints(registry, "qmasq_vbond_qos_"),
        vpcs(registry, "qmasq_vbond_qos_vpc_"),
        backlog(gauges(registry, "qmasq_vbond_qos_backlog_bytes",
                       "RDMA of an endpoint that waits "
                       "now, bytes.")),
        other_bytes(counters(registry, "qmasq_vbond_qos_other_egress_bytes_total",
                             "RDMA of no endpoint, bytes of Ethernet frames.")),
        nic_bytes(counters(registry, "qmasq_vbond_qos_nic_egress_bytes_total",
                           "RDMA altogether, bytes of Ethernet frames.")),
        rate(gauges(registry, "qmasq_vbond_qos_nic_rate_bytes_per_second",
                    "What is shared out of a NIC.")),
        guaranteed(gauges(registry, "qmasq_vbond_qos_nic_guaranteed_bytes_per_second",
                          "What is promised of a NIC.")),
        nodes(gauges(registry, "qmasq_vbond_qos_nodes", "Nodes of a NIC's tree of limits.")),
        steps(counters(registry, "qmasq_vbond_qos_steps_total", "Changes sent to the backend.")),
        program_seconds(
            prometheus::BuildHistogram()
                .Name("qmasq_vbond_qos_program_seconds")
                .Help("From a change's arrival at the agent until the backend has it.")
                .Register(registry)
                .Add({}, prometheus::Histogram::BucketBoundaries{0.0003, 0.001, 0.003, 0.01, 0.03,
                                                                 0.1, 0.3, 1, 3, 10})),
        hw(counters(registry, "qmasq_vbond_nic_hw_events_total",
                    "The device's own counters, by the driver's names.")) {}

  void show_node(const NicState& nic, const NodeState& node, Row& row);

  Level endpoints;
  Level vpcs;
  Gauges backlog;
  Counters other_bytes;
  Counters nic_bytes;
  Gauges rate;
  Gauges guaranteed;
  Gauges nodes;
  Counters steps;
  prometheus::Histogram& program_seconds;
  Counters hw;
  std::map<std::string, NicRows> nics;  // goes first of all: it has handles of the others
};

void QosMetrics::Impl::show_node(const NicState& nic, const NodeState& node, Row& row) {
  const bool is_vpc = node.id.kind == Kind::kVpc;
  Labels labels{{"nic", nic.device}};
  if (is_vpc) {
    labels["vpc"] = parse_vpc_name(node.name).value_or("");
  } else {
    const EndpointName name = parse_endpoint_name(node.name).value_or(EndpointName{});
    labels["vpc"] = name.vpc;
    labels["endpoint"] = name.endpoint;
  }
  Level& level = is_vpc ? vpcs : endpoints;
  if (node.traffic) {
    const Traffic& traffic = *node.traffic;
    set(row.bytes, level.bytes, labels, static_cast<double>(traffic.bytes));
    set(row.packets, level.packets, labels, static_cast<double>(traffic.packets));
    set(row.drops, level.drops, labels, static_cast<double>(traffic.drops));
    set(row.overlimits, level.overlimits, labels, static_cast<double>(traffic.overlimits));
    set(row.throttled, level.throttled, labels,
        std::chrono::duration<double>(traffic.throttled).count());
    if (!is_vpc) row.backlog.of(backlog, labels).Set(static_cast<double>(traffic.backlog));
  } else {
    for (auto* series : {&row.bytes, &row.packets, &row.drops, &row.overlimits, &row.throttled})
      series->clear();
    row.backlog.clear();
  }
  const qos::Bandwidth limits = node.policy ? node.policy->bandwidth : qos::Bandwidth{};
  auto show_limit = [&](Series<Gauge>& series, const std::optional<BitsPerSecond>& limit,
                        const char* name) {
    if (!limit) return series.clear();
    series.of(level.limit, with(labels, "limit", name)).Set(bytes_per_second(*limit));
  };
  show_limit(row.guaranteed, limits.guaranteed, "guaranteed");
  show_limit(row.maximum, limits.maximum, "maximum");
  if (!limits.limits()) return row.enforced.clear();
  row.enforced
      .of(level.enforced, with(labels, "backend", nic.backend.empty() ? "none" : nic.backend))
      .Set(node.unenforced.empty() ? 1 : 0);
}

QosMetrics::QosMetrics(prometheus::Registry& registry) : impl_(std::make_unique<Impl>(registry)) {}
QosMetrics::~QosMetrics() = default;

void QosMetrics::show(const NicState& state) {
  NicRows& rows = impl_->nics[state.device];
  const Labels nic{{"nic", state.device}};
  rows.rate.of(impl_->rate, nic).Set(bytes_per_second(state.rate));
  rows.guaranteed.of(impl_->guaranteed, nic).Set(bytes_per_second(state.guaranteed));
  rows.planned.of(impl_->nodes, with(nic, "state", "planned"))
      .Set(static_cast<double>(state.planned));
  rows.programmed.of(impl_->nodes, with(nic, "state", "programmed"))
      .Set(static_cast<double>(state.programmed));
  // What is gone first: what has come since may have its name, and so its labels.
  std::set<qos::NodeId> there;
  for (const NodeState& node : state.nodes)
    there.insert(node.id);
  std::erase_if(rows.nodes, [&](const auto& entry) { return !there.contains(entry.first); });
  for (const NodeState& node : state.nodes) {
    if (node.id.kind == Kind::kVpc || node.id.kind == Kind::kEndpoint) {
      impl_->show_node(state, node, rows.nodes[node.id]);
    } else if (node.traffic) {
      const bool is_nic = node.id.kind == Kind::kNic;
      set(is_nic ? rows.nic_bytes : rows.other_bytes,
          is_nic ? impl_->nic_bytes : impl_->other_bytes, nic,
          static_cast<double>(node.traffic->bytes));
    }
  }
}

void QosMetrics::show_hw(const std::string& nic,
                         const std::map<std::string, std::uint64_t>& values) {
  NicRows& rows = impl_->nics[nic];
  std::erase_if(rows.hw, [&](const auto& entry) { return !values.contains(entry.first); });
  for (const auto& [name, value] : values) {
    auto [entry, fresh] = rows.hw.try_emplace(name);
    NicRows::Hw& hw = entry->second;
    Counter& counter = hw.series.of(impl_->hw, {{"nic", nic}, {"counter", name}});
    // A device that was made anew counts from 0.
    const std::uint64_t grown = value < hw.last ? value : value - hw.last;
    counter.Increment(static_cast<double>(grown));
    hw.last = value;
  }
}

void QosMetrics::forget(const std::string& nic) {
  impl_->nics.erase(nic);
}

void QosMetrics::count_steps(const std::string& nic, std::size_t ok, std::size_t failed) {
  NicRows& rows = impl_->nics[nic];
  auto labels = [&](const char* result) { return Labels{{"nic", nic}, {"result", result}}; };
  rows.ok.of(impl_->steps, labels("ok")).Increment(static_cast<double>(ok));
  rows.failed.of(impl_->steps, labels("error")).Increment(static_cast<double>(failed));
}

void QosMetrics::observe_program(std::chrono::nanoseconds took) {
  impl_->program_seconds.Observe(std::chrono::duration<double>(took).count());
}

}  // namespace qmasq::vbond
