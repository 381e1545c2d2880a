// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "qos/backend.h"

namespace qmasq::test {

// What limits one NIC, in memory: what the kernel keeps, while backends come and go with agents.
// Refuses what a kernel would: a node twice or without its parent, a parent before its children,
// ports that another has, and anything at all where a site's own qdisc is in the way. Thread-safe.
class FakeLimits {
 public:
  FakeLimits();

  // One more, as after a start of the agent; the object must outlive it.
  [[nodiscard]] std::unique_ptr<qos::Backend> backend();
  // REQUIRES of the setter: no backend yet.
  qos::Capabilities capabilities;

  [[nodiscard]] qos::Plan plan() const;
  // As somebody with tc(8) might.
  void wipe();
  void remove(qos::NodeId id);
  void change(const qos::Node& node);
  // A qdisc of the site's is (no longer) in the way of new trees.
  void set_foreign(bool foreign);
  // Steps of this node fail so many times.
  void fail_next(qos::NodeId id, int times);
  void fail_readbacks(int times);
  void fail_counters(int times);
  // Traffic.
  void count(qos::NodeId id, const qos::Counters& more);

  [[nodiscard]] std::size_t steps() const;  // carried out or refused, so far
  [[nodiscard]] std::size_t readbacks() const;

 private:
  class One;
  struct Entry {
    qos::Node node;
    qos::Counters counters;
  };
  // REQUIRES of these: mutex_ held.
  [[nodiscard]] Status carry_out(const qos::Step& step);
  [[nodiscard]] Status add(const qos::Node& node);
  [[nodiscard]] Status take(qos::NodeId id);

  mutable std::mutex mutex_;
  std::map<qos::NodeId, Entry> nodes_;
  std::set<qos::NodeId> leftovers_;
  std::map<qos::NodeId, int> failing_;
  int failing_readbacks_ = 0;
  int failing_counters_ = 0;
  bool foreign_ = false;
  std::size_t steps_ = 0;
  std::size_t readbacks_ = 0;
};

}  // namespace qmasq::test
