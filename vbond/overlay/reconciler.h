// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/unique_fd.h"
#include "vbond/netlink/netlink.h"
#include "vbond/overlay/faults.h"
#include "vbond/overlay/metrics.h"
#include "vbond/overlay/plan.h"
#include "vbond/overlay/state.h"

namespace qmasq::vbond {

// Makes the kernel follow the plans. For one thread; decides nothing about time but when a VPC with
// faults is due again (next_retry).
class Reconciler {
 public:
  struct Options {
    std::string host;
    std::optional<IpAddress> underlay;
    std::uint16_t port = 4789;
  };
  Reconciler(Options options, netlink::Namespaces& namespaces, const Clock& clock,
             OverlayMetrics& metrics);

  void apply(const Change& change);
  // From now on leftovers are removed.
  void in_sync();
  // Compares everything with the kernel.
  void resync();
  // The VPCs whose time has come.
  void retry();
  // When retry() has something to do; none: never.
  [[nodiscard]] std::optional<Faults::TimePoint> next_retry() const;

  // As Overlay says them.
  [[nodiscard]] Status wire(EndpointUid endpoint, int netns, const std::string& interface);
  void unwire(EndpointUid endpoint);
  void look_again(EndpointUid endpoint);
  [[nodiscard]] std::string problems(EndpointUid endpoint) const;

 private:
  struct Plug {
    std::string interface;
    UniqueFd netns;
    std::unique_ptr<netlink::Netlink> net;
    // What its namespace has for neighbours; null: look.
    std::shared_ptr<const std::vector<NeighbourRow>> neighbours;
    // Addresses as last put there. Kept apart from looking: an address that somebody took away
    // since is followed, not put back (until the endpoint or its interface changes).
    std::optional<std::vector<AddressRow>> addresses;
  };
  struct Vpc {
    std::optional<VpcPlan> applied;  // none: look
    Faults faults;
    std::vector<std::string> warnings;
    std::vector<std::string> links;  // as planned last
  };
  // What was read from the overlay's namespace in this pass.
  struct Look {
    std::vector<netlink::Link> links;
    std::map<std::string, std::vector<FdbRow>> rows;  // by link
  };

  void refresh_site();
  void pass(const std::set<VpcUid>& vpcs);
  void pass_vpc(VpcUid uid);
  void deltas(Vpc& vpc, const VpcPlan& plan);
  void compare(Vpc& vpc, const VpcPlan& plan);
  [[nodiscard]] Status open_namespace();
  [[nodiscard]] Status look();
  void sweep();
  void make_links(Vpc& vpc, const VpcPlan& plan, std::set<std::string>& broken);
  [[nodiscard]] Status make_link(const LinkPlan& link, const LinkAction& action,
                                 const VpcPlan& plan);
  void mend_plug(Vpc& vpc, const PlugPlan& plan, std::set<std::string>& broken);
  void fill_neighbours(Vpc& vpc, const VpcPlan& plan);
  // Applies; what fails becomes a fault. Operations on links in `broken` are left out.
  void program(Vpc& vpc, netlink::Netlink& net, const std::vector<netlink::Operation>& operations,
               const std::set<std::string>& broken, std::optional<EndpointUid> endpoint);
  [[nodiscard]] Status run(netlink::Netlink& net, const netlink::Operation& operation);
  [[nodiscard]] std::vector<OverlayPlug> plugs_of(const OverlayVpc& vpc) const;
  void publish();

  const Options options_;
  netlink::Namespaces& namespaces_;
  const Clock& clock_;
  OverlayMetrics& metrics_;

  OverlayState state_;
  OverlaySite site_;
  bool site_looked_ = false;  // the MTU is what the kernel said last
  bool in_sync_ = false;
  bool sweep_due_ = false;
  std::map<EndpointUid, Plug> plugs_;
  std::map<VpcUid, Vpc> vpcs_;

  UniqueFd netns_;                          // the overlay's
  std::unique_ptr<netlink::Netlink> net_;   // in it
  std::unique_ptr<netlink::Netlink> host_;  // in the agent's
  std::optional<Look> look_;                // of the pass that runs
};

}  // namespace qmasq::vbond
