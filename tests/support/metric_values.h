// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/registry.h>

#include <map>
#include <optional>
#include <string>

namespace qmasq::test {

// What the counters or gauges of a family show, by their labels: "nic=rxe0,vpc=blue", in the order
// of the labels' names. Empty: there is no such family, or nothing in it.
inline std::map<std::string, double> metric_values(const prometheus::Registry& registry,
                                                   const std::string& name) {
  std::map<std::string, double> out;
  for (const auto& family : registry.Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      std::string labels;
      for (const auto& label : metric.label)
        labels += (labels.empty() ? "" : ",") + label.name + "=" + label.value;
      out[labels] = metric.counter.value + metric.gauge.value;
    }
  }
  return out;
}

// One of them, by its labels, all of them.
inline std::optional<double> metric_value(const prometheus::Registry& registry,
                                          const std::string& name,
                                          const std::map<std::string, std::string>& labels) {
  std::string wanted;
  for (const auto& [label, value] : labels)
    wanted += (wanted.empty() ? "" : ",") + label + "=" + value;
  const auto values = metric_values(registry, name);
  auto found = values.find(wanted);
  if (found == values.end()) return std::nullopt;
  return found->second;
}

}  // namespace qmasq::test
