// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "vbond/state/change.h"
#include "vbond/sync/held_state.h"

namespace qmasq::v1 {
class Batch;
class Endpoint;
class Host;
class Vpc;
}  // namespace qmasq::v1

namespace qmasq::vbond {

// Turns a batch, part by part, into one Change, or refuses it whole. What comes from the controller
// is checked like any other input: a bug there must not become a bug in a tenant's network. Pure;
// not thread-safe.
class BatchCollector {
 public:
  struct Limits {
    // Objects of all kinds in one batch, rules among them; some 300 bytes each while it is
    // collected.
    std::size_t objects = 4'000'000;
    std::size_t addresses_per_endpoint = 255;  // with the link-local one: 8 bits of sgid_index
    std::size_t nics_per_host = 256;
    std::size_t rates_per_host = 128;
    std::size_t ranges_per_vpc = 1024;
  };

  explicit BatchCollector(Limits limits) : limits_(limits) {}

  // Nothing of a batch has come yet.
  [[nodiscard]] bool empty() const { return !started_; }
  [[nodiscard]] Revision revision() const { return change_.revision; }

  // After an error, add the remaining parts nevertheless (they are skipped) and finish().
  void add(const v1::Batch& part);

  // After the part with more = false. Starts anew. An error names the object at fault. `held` is
  // what the batch builds on.
  [[nodiscard]] Result<Change> finish(const HeldState& held);

  // The stream ended in the middle.
  void reset();

 private:
  [[nodiscard]] Status collect(const v1::Batch& part);
  [[nodiscard]] Status collect_vpc(const v1::Vpc& vpc);
  [[nodiscard]] Status collect_endpoint(const v1::Endpoint& endpoint);
  [[nodiscard]] Status collect_host(const v1::Host& host);
  // What may be shared out of NICs, where an administrator says it.
  [[nodiscard]] Status take_rates(const v1::Host& host, HostView& view) const;
  [[nodiscard]] Status link(const HeldState& held);
  // `after`: VPCs and hosts as they will be.
  [[nodiscard]] Status link_groups(const HeldState& held, const HeldState& after) const;
  [[nodiscard]] Status link_policies(const HeldState& held) const;
  [[nodiscard]] Status check_unique() const;

  const Limits limits_;
  bool started_ = false;
  Change change_;
  std::size_t objects_ = 0;
  Status verdict_;
  // Hosts of endpoints by name until finish(): a later part may describe them. One entry for each
  // endpoint, pointing into the names.
  std::vector<std::uint32_t> endpoint_hosts_;
  std::unordered_map<std::string, std::uint32_t> host_numbers_;
};

}  // namespace qmasq::vbond
