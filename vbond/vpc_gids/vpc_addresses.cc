// SPDX-License-Identifier: Apache-2.0
#include "vbond/vpc_gids/vpc_addresses.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "vbond/nic/vpc_gid.h"
#include "vbond/vpc_gids/plan.h"

namespace qmasq::vbond {

struct VpcAddresses::Impl {
  Impl(Options o, const EndpointTable& e, netlink::Namespaces& n, netlink::Loop& l, const Clock& c,
       Listener f)
      : options(o), endpoints(e), namespaces(n), loop(l), clock(c), listener(std::move(f)) {}

  // The rest is of the loop's thread.
  void reconcile() {
    if (!site) return;
    const std::string problem = pass();
    if (problem != said && !problem.empty()) spdlog::warn("addresses of VPCs: {}", problem);
    said = problem;
    listener(wanted);
    if (!problem.empty()) look_again(options.retry);
  }

  void look_again(std::chrono::milliseconds delay) {
    if (retry_due) return;
    retry_due = true;
    loop.post_at(clock.now() + delay, [this] {
      retry_due = false;
      reconcile();
    });
  }

  // What went wrong, or nothing.
  std::string pass() {
    auto host = namespaces.connect(-1);
    if (!host) return host.error().message;
    auto links = (*host)->links();
    if (!links) return links.error().message;
    auto addresses = (*host)->addresses();
    if (!addresses) return addresses.error().message;
    std::string problem;
    for (const std::string& interface : interfaces) {
      auto link = std::find_if(links->begin(), links->end(),
                               [&](const netlink::Link& each) { return each.name == interface; });
      if (link == links->end()) continue;  // the NIC is going, and says so itself
      std::vector<netlink::Address> there;
      std::copy_if(addresses->begin(), addresses->end(), std::back_inserter(there),
                   [&](const netlink::Address& each) { return each.link == link->index; });
      const auto operations = plan_vpc_addresses(*site, interface, wanted, there, sweep);
      for (const Status& status : (*host)->apply(operations)) {
        if (!status) problem = status.error().message;
      }
    }
    return problem;
  }

  void resync_later() {
    loop.post_at(clock.now() + options.resync, [this] {
      reconcile();
      resync_later();
    });
  }

  const Options options;
  const EndpointTable& endpoints;
  netlink::Namespaces& namespaces;
  netlink::Loop& loop;
  const Clock& clock;
  const Listener listener;

  std::set<Vni> told;  // of the thread that applies

  std::optional<VpcAddressSite> site;  // the loop's thread, as all below; none: no NIC has a prefix
  std::set<std::string> interfaces;
  std::set<Vni> wanted;
  std::string said;  // the problem that was logged last
  bool sweep = false;
  bool retry_due = false;
};

VpcAddresses::VpcAddresses(Options options, const EndpointTable& endpoints,
                           netlink::Namespaces& namespaces, netlink::Loop& loop, const Clock& clock,
                           Listener listener)
    : impl_(std::make_unique<Impl>(options, endpoints, namespaces, loop, clock,
                                   std::move(listener))) {
  impl_->resync_later();
}

VpcAddresses::~VpcAddresses() = default;

Status VpcAddresses::check(const Change& /*change*/) {
  return {};
}

void VpcAddresses::apply(const Change& /*change*/) {
  std::set<Vni> now;
  for (const EndpointPtr& endpoint : impl_->endpoints.list())
    now.insert(endpoint->vni);
  if (now == impl_->told) return;
  impl_->told = now;
  impl_->loop.post([impl = impl_.get(), now = std::move(now)]() mutable {
    impl->wanted = std::move(now);
    impl->reconcile();
  });
}

void VpcAddresses::set_nics(const HostNics& nics) {
  std::optional<VpcAddressSite> site;
  std::set<std::string> interfaces;
  for (const Nic& nic : nics.nics) {
    if (!nic.vpc_prefix || nic.netdev.empty()) continue;
    site = VpcAddressSite{*nic.vpc_prefix, impl_->options.given.length};
    interfaces.insert(nic.netdev);
  }
  impl_->loop.post([impl = impl_.get(), site, interfaces = std::move(interfaces)]() mutable {
    // The kernel drops IPv6 addresses of an interface that goes down: looked at after each change.
    impl->site = site;
    impl->interfaces = std::move(interfaces);
    impl->reconcile();
  });
}

void VpcAddresses::in_sync() {
  impl_->loop.post([impl = impl_.get()] {
    if (std::exchange(impl->sweep, true)) return;
    impl->reconcile();
  });
}

}  // namespace qmasq::vbond
