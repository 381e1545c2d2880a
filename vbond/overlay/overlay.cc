// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/overlay.h"

#include <utility>

#include "vbond/overlay/metrics.h"
#include "vbond/overlay/reconciler.h"

namespace qmasq::vbond {

struct Overlay::Impl {
  Impl(Options o, netlink::Namespaces& namespaces, netlink::Loop& l, const Clock& c,
       prometheus::Registry& registry)
      : options(std::move(o)),
        loop(l),
        clock(c),
        metrics(registry),
        reconciler({options.host, options.underlay, options.port}, namespaces, clock, metrics) {}

  // After each pass: who follows problems() looks again, and what failed gets its next try.
  void after_pass() {
    if (listener) listener();
    auto next = reconciler.next_retry();
    if (!next || (timer && *timer <= *next && *timer > clock.now())) return;
    timer = next;
    loop.post_at(*next, [this] {
      timer.reset();
      reconciler.retry();
      after_pass();
    });
  }

  void resync_later() {
    loop.post_at(clock.now() + options.resync, [this] {
      reconciler.resync();
      after_pass();
      resync_later();
    });
  }

  const Options options;
  netlink::Loop& loop;
  const Clock& clock;
  OverlayMetrics metrics;
  Reconciler reconciler;  // the loop's thread, as all below
  std::function<void()> listener;
  std::optional<std::chrono::steady_clock::time_point> timer;
};

Overlay::Overlay(Options options, netlink::Namespaces& namespaces, netlink::Loop& loop,
                 const Clock& clock, prometheus::Registry& registry)
    : impl_(std::make_unique<Impl>(std::move(options), namespaces, loop, clock, registry)) {
  impl_->resync_later();
}

Overlay::~Overlay() = default;

Status Overlay::check(const Change& change) {
  for (const VpcView& vpc : change.vpcs) {
    if (vpc.vni.value == 0 || vpc.vni.value > kMaxVni) {
      return fail(Code::kInvalidArgument,
                  vpc.name + ": VNI " + std::to_string(vpc.vni.value) + " is not 1 to 16777215");
    }
  }
  for (const EndpointView& endpoint : change.endpoints) {
    if (endpoint.mac.is_zero() || endpoint.mac.is_multicast()) {
      return fail(Code::kInvalidArgument,
                  endpoint.name + ": " + to_string(endpoint.mac) + " cannot be an interface's MAC");
    }
  }
  return {};
}

void Overlay::apply(const Change& change) {
  impl_->loop.post([impl = impl_.get(), change] {
    impl->reconciler.apply(change);
    impl->after_pass();
  });
}

void Overlay::in_sync() {
  impl_->loop.post([impl = impl_.get()] {
    impl->reconciler.in_sync();
    impl->after_pass();
  });
}

void Overlay::set_listener(std::function<void()> listener) {
  impl_->listener = std::move(listener);
}

Status Overlay::wire(EndpointUid endpoint, int netns, const std::string& interface) {
  Status done = impl_->reconciler.wire(endpoint, netns, interface);
  impl_->after_pass();
  return done;
}

void Overlay::unwire(EndpointUid endpoint) {
  impl_->reconciler.unwire(endpoint);
  impl_->after_pass();
}

void Overlay::look_again(EndpointUid endpoint) {
  impl_->reconciler.look_again(endpoint);
  impl_->after_pass();
}

std::string Overlay::problems(EndpointUid endpoint) const {
  return impl_->reconciler.problems(endpoint);
}

}  // namespace qmasq::vbond
