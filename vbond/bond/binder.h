// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/events/event_log.h"
#include "vbond/netlink/loop.h"
#include "vbond/netlink/netlink.h"
#include "vbond/overlay/overlay.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// As EndpointStatus of schema/proto/qmasq/v1/endpoint.proto says it.
enum class BondState {
  kUnbound,
  kBound,
  kDegraded,  // `message` says what is missing
};
[[nodiscard]] const char* to_string(BondState state);

struct BondStatus {
  BondState state = BondState::kUnbound;
  std::string message;
  std::string netns;                          // path, or empty for a namespace without a name
  std::string interface;                      // in that namespace
  std::vector<IpAddress> observed_addresses;  // of the endpoint, that the interface carries
  bool operator==(const BondStatus&) const = default;
};

// What a program enters. The caller owns the descriptor.
struct BoundNamespace {
  UniqueFd netns;
  std::string path;
  std::string interface;
};

// Bonds endpoints of this host to network namespaces: makes a namespace (named by namespace_name)
// and has the overlay wire it, or joins one that somebody else made; then follows the addresses of
// its interface over rtnetlink. A namespace that the agent made carries the mark
// "qmasq:endpoint:<uid>" as alias of its loopback interface; a restarted agent adopts those. It is
// removed when the endpoint is deleted or moves away (programs inside lose the interface), never
// before in_sync().
//
// State lives on the loop's thread; bind() and the like wait for it. Events: endpoint-bound,
// endpoint-unbound.
class Binder final : public ChangeObserver {
 public:
  using Listener = std::function<void(EndpointUid, const BondStatus&)>;

  struct Options {
    std::string host;  // "hosts/hostA"
  };
  // `overlay` may be null: the site has its own overlay. bind() then joins a namespace of that name
  // made by the site (interface eth0) and makes none. `listener` gets each status that differs from
  // the one before, on the loop's thread; it must not wait. All references outlive the binder; the
  // loop is stopped before it goes. As observers: Overlay first, then Binder.
  Binder(Options options, netlink::Namespaces& namespaces, netlink::Loop& loop, const Clock& clock,
         EventLog& events, Overlay* overlay, Listener listener);
  ~Binder() override;

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;
  // Any thread: all state has been applied at least once since the start.
  void in_sync();

  // Any thread but the loop's; wait for the loop, some milliseconds. Idempotent. Errors: kNotFound
  // for an endpoint that is not of this host, kAlreadyExists for a namespace of that name that the
  // agent did not make, kFailedPrecondition where the site's namespace is missing, kUnavailable
  // when the loop has stopped, and what the kernel says.
  [[nodiscard]] Result<BoundNamespace> bind(EndpointUid endpoint);
  // Joins a namespace that is already there: nothing in it is changed, it is only followed. Keeps
  // the descriptor until unbind() or until the endpoint goes. kFailedPrecondition when the endpoint
  // is bound to another one.
  [[nodiscard]] Status bind_existing(EndpointUid endpoint, UniqueFd netns, std::string interface);
  // Lets go of a joined namespace; removes one that the agent made.
  [[nodiscard]] Status unbind(EndpointUid endpoint);

  // Every endpoint of this host, by uid. Any thread.
  [[nodiscard]] std::vector<std::pair<EndpointUid, BondStatus>> list() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "vpcs/blue/endpoints/a" -> "qm-blue-a". With a '-' in one of the ids the ids are joined by '.'
// ("qm-my-vpc.web-1"), so that no two endpoints share a name.
[[nodiscard]] std::string namespace_name(const std::string& endpoint_name);

}  // namespace qmasq::vbond
