// SPDX-License-Identifier: Apache-2.0
#include "vbond/bond/binder.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "common/resource_name.h"
#include "vbond/bond/judge.h"

namespace qmasq::vbond {
namespace {

constexpr const char* kInterface = "eth0";
constexpr const char* kMarkPrefix = "qmasq:endpoint:";
constexpr const char* kNamePrefix = "qm-";
// A tenant that changes addresses all the time costs one look in this time.
constexpr std::chrono::milliseconds kSettle{50};

std::string mark_of(EndpointUid uid) {
  return kMarkPrefix + std::to_string(uid.value);
}

// From the alias of the loopback interface; none: not a namespace of ours.
std::optional<EndpointUid> marked_for(const std::vector<netlink::Link>& links) {
  for (const netlink::Link& link : links) {
    std::string_view alias = link.alias;
    if (link.kind != netlink::LinkKind::kLoopback || !alias.starts_with(kMarkPrefix)) continue;
    alias.remove_prefix(std::string_view(kMarkPrefix).size());
    EndpointUid uid;
    auto [end, error] = std::from_chars(alias.data(), alias.data() + alias.size(), uid.value);
    if (error == std::errc() && end == alias.data() + alias.size()) return uid;
  }
  return std::nullopt;
}

bool same_namespace(int a, int b) {
  struct stat left {};
  struct stat right {};
  return ::fstat(a, &left) == 0 && ::fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
         left.st_ino == right.st_ino;
}

Result<UniqueFd> duplicate(const UniqueFd& fd) {
  UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail_errno(errno, "duplicate a namespace's descriptor");
  return copy;
}

}  // namespace

const char* to_string(BondState state) {
  switch (state) {
    case BondState::kUnbound:
      return "unbound";
    case BondState::kBound:
      return "bound";
    case BondState::kDegraded:
      return "degraded";
  }
  return "unknown";
}

std::string namespace_name(const std::string& endpoint_name) {
  auto ids = parse_endpoint_name(endpoint_name);
  if (!ids) return {};
  bool plain =
      ids->vpc.find('-') == std::string::npos && ids->endpoint.find('-') == std::string::npos;
  return kNamePrefix + ids->vpc + (plain ? "-" : ".") + ids->endpoint;
}

struct Binder::Impl {
  struct Bond {
    UniqueFd netns;
    std::string name;  // under the namespaces' directory, or empty
    bool made = false;
    std::string interface;
    std::unique_ptr<netlink::Netlink> net;
    std::unique_ptr<netlink::Monitor> monitor;
    bool wired = false;  // the overlay follows it from then on
    bool refresh_pending = false;
    bool up = false;       // as last seen
    std::string problems;  // as last told
  };

  Impl(Options o, netlink::Namespaces& n, netlink::Loop& l, const Clock& c, EventLog& e, Overlay* v,
       Listener listen)
      : options(std::move(o)),
        namespaces(n),
        loop(l),
        clock(c),
        events(e),
        overlay(v),
        listener(std::move(listen)) {}

  const Options options;
  netlink::Namespaces& namespaces;
  netlink::Loop& loop;
  const Clock& clock;
  EventLog& events;
  Overlay* const overlay;
  const Listener listener;

  // The loop's thread.
  std::unordered_map<HostUid, std::string> hosts;
  std::unordered_map<EndpointUid, EndpointView> known;  // of this host, and of hosts not named yet
  std::map<EndpointUid, Bond> bonds;
  bool in_sync = false;

  mutable std::mutex mutex;
  std::map<EndpointUid, BondStatus> statuses;  // guarded by mutex

  // Runs `work` on the loop and waits for what it returns.
  template <typename T, typename Work>
  Result<T> on_loop(Work work) {
    auto promise = std::make_shared<std::promise<Result<T>>>();
    std::future<Result<T>> future = promise->get_future();
    loop.post([promise, work = std::make_shared<Work>(std::move(work))] {
      promise->set_value((*work)());
    });
    promise.reset();  // a loop that has stopped drops the task, and with it the last reference
    try {
      return future.get();
    } catch (const std::future_error&) {
      return fail(Code::kUnavailable, "the agent is stopping");
    }
  }

  const EndpointView* local(EndpointUid uid) const {
    auto it = known.find(uid);
    if (it == known.end()) return nullptr;
    auto host = hosts.find(it->second.host);
    return host != hosts.end() && host->second == options.host ? &it->second : nullptr;
  }

  void event(EventType type, const EndpointView& endpoint, std::string reason) {
    Event made;
    made.type = type;
    made.endpoint = endpoint.name;
    made.reason = std::move(reason);
    events.record(std::move(made));
  }

  // ---- state ----

  void take(const Change& change) {
    std::unordered_map<EndpointUid, EndpointView> before;
    if (change.snapshot) {
      before.swap(known);
      hosts.clear();
    }
    for (HostUid uid : change.removed_hosts)
      hosts.erase(uid);
    for (const HostView& host : change.hosts)
      hosts[host.uid] = host.name;
    std::vector<EndpointUid> gone = change.removed_endpoints;
    for (const auto& [uid, endpoint] : known) {
      if (std::count(change.removed_vpcs.begin(), change.removed_vpcs.end(), endpoint.vpc) > 0) {
        gone.push_back(uid);
      }
    }
    std::unordered_map<EndpointUid, EndpointView> last = std::move(before);
    for (EndpointUid uid : gone) {
      if (auto it = known.find(uid); it != known.end()) {
        last.insert(std::move(*it));
        known.erase(it);
      }
    }
    for (const EndpointView& endpoint : change.endpoints) {
      // Those of other hosts are nobody's business here. A host that is not named yet may be ours.
      auto host = hosts.find(endpoint.host);
      if (host == hosts.end() || host->second == options.host) {
        known[endpoint.uid] = endpoint;
      } else if (auto it = known.find(endpoint.uid); it != known.end()) {
        last.insert(std::move(*it));
        known.erase(it);
      }
    }
    for (const EndpointView& endpoint : change.endpoints) {
      if (local(endpoint.uid) != nullptr) refresh_later(endpoint.uid);
    }
    settle(last);
  }

  // Brings bonds and statuses in line with `known`. `last`: endpoints as they were, for events.
  void settle(const std::unordered_map<EndpointUid, EndpointView>& last) {
    std::vector<EndpointUid> lost;
    for (const auto& [uid, bond] : bonds) {
      if (local(uid) == nullptr) lost.push_back(uid);
    }
    for (EndpointUid uid : lost) {
      // Before the state is whole, an endpoint that is not in it may just not have come yet.
      auto it = last.find(uid);
      if (!in_sync && it == last.end()) continue;
      drop(uid, it == last.end() ? nullptr : &it->second, "the endpoint left this host");
    }
    for (auto& [uid, bond] : bonds) {
      if (local(uid) == nullptr || !bond.made || bond.wired) continue;
      // A fault stays with the overlay, which tries again and tells.
      if (Status done = wire(uid, bond); !done) spdlog::warn("bond: {}", done.error().message);
      refresh_later(uid);
    }
    std::lock_guard lock(mutex);
    for (auto it = statuses.begin(); it != statuses.end();) {
      it = local(it->first) == nullptr ? statuses.erase(it) : std::next(it);
    }
  }

  // The overlay has news of some endpoint.
  void overlay_changed() {
    for (const auto& [uid, endpoint] : known) {
      if (local(uid) == nullptr) continue;
      auto bond = bonds.find(uid);
      if (bond == bonds.end() || bond->second.problems != overlay->problems(uid)) refresh(uid);
    }
  }

  // After the tasks that are posted: an Overlay that follows the same change comes first.
  void refresh_later(EndpointUid uid) {
    loop.post([this, uid] { refresh(uid); });
  }

  // ---- bonds ----

  // Namespaces of an agent before this one.
  void adopt() {
    auto names = namespaces.names();
    if (!names) {
      spdlog::warn("bond: {}", names.error().message);
      return;
    }
    for (const std::string& name : *names) {
      if (!name.starts_with(kNamePrefix)) continue;
      auto netns = namespaces.open(name);
      if (!netns) continue;
      auto net = namespaces.connect(netns->get());
      if (!net) continue;
      auto links = (*net)->links();
      if (!links) continue;
      auto uid = marked_for(*links);
      if (!uid || bonds.count(*uid) > 0) continue;
      Bond bond;
      bond.netns = std::move(*netns);
      bond.name = name;
      bond.made = true;
      bond.interface = kInterface;
      bond.net = std::move(*net);
      if (Status done = start(*uid, std::move(bond)); !done) {
        spdlog::warn("bond: {}: {}", name, done.error().message);
      }
    }
  }

  Status start(EndpointUid uid, Bond bond) {
    QMASQ_ASSIGN(bond.monitor, namespaces.monitor(bond.netns.get()));
    int fd = bond.monitor->fd();
    QMASQ_TRY(loop.watch(fd, [this, uid] { changed(uid); }));
    bonds.emplace(uid, std::move(bond));
    return {};
  }

  // Something happened in the namespace; look once it is quiet for a moment.
  void changed(EndpointUid uid) {
    auto it = bonds.find(uid);
    if (it == bonds.end()) return;
    Bond& bond = it->second;
    auto news = bond.monitor->drain();
    if (!news) {
      spdlog::warn("bond: {}", news.error().message);
      loop.unwatch(bond.monitor->fd());
    }
    if ((news && !*news) || bond.refresh_pending) return;
    bond.refresh_pending = true;
    loop.post_at(clock.now() + kSettle, [this, uid] {
      auto held = bonds.find(uid);
      if (held == bonds.end()) return;
      held->second.refresh_pending = false;
      bool was_up = held->second.up;
      refresh(uid);
      // The kernel forgets the neighbours of an interface that goes down.
      if (!was_up && held->second.up && held->second.made && overlay != nullptr) {
        overlay->look_again(uid);
      }
    });
  }

  Status wire(EndpointUid uid, Bond& bond) {
    if (overlay == nullptr) return {};
    Status done = overlay->wire(uid, bond.netns.get(), bond.interface);
    bond.wired = done || done.error().code != Code::kNotFound;
    return done;
  }

  void drop(EndpointUid uid, const EndpointView* endpoint, const std::string& why) {
    auto it = bonds.find(uid);
    if (it == bonds.end()) return;
    Bond& bond = it->second;
    loop.unwatch(bond.monitor->fd());
    if (bond.made) {
      if (overlay != nullptr) overlay->unwire(uid);
      if (Status done = namespaces.remove(bond.name); !done) {
        spdlog::warn("bond: {}", done.error().message);
      }
    }
    bonds.erase(it);
    if (endpoint != nullptr) event(EventType::kEndpointUnbound, *endpoint, why);
  }

  Result<BoundNamespace> bind(EndpointUid uid) {
    const EndpointView* endpoint = local(uid);
    if (endpoint == nullptr) {
      return fail(Code::kNotFound,
                  "endpoint " + std::to_string(uid.value) + " is not of this host");
    }
    auto it = bonds.find(uid);
    bool fresh = it == bonds.end();
    if (fresh) {
      QMASQ_TRY(open_bond(*endpoint));
      it = bonds.find(uid);
    }
    if (it->second.made) {
      if (Status done = wire(uid, it->second); !done) {
        if (fresh) drop(uid, nullptr, "");
        refresh(uid);
        return tl::unexpected(done.error());
      }
    }
    if (fresh) event(EventType::kEndpointBound, *endpoint, "namespace " + it->second.name);
    refresh(uid);
    BoundNamespace bound;
    QMASQ_ASSIGN(bound.netns, duplicate(it->second.netns));
    if (!it->second.name.empty()) bound.path = namespaces.path(it->second.name);
    bound.interface = it->second.interface;
    return bound;
  }

  Status open_bond(const EndpointView& endpoint) {
    Bond bond;
    bond.interface = kInterface;
    bond.name = namespace_name(endpoint.name);
    if (overlay != nullptr) {
      QMASQ_ASSIGN(bond.netns, namespaces.create(bond.name, mark_of(endpoint.uid)));
      bond.made = true;
    } else {
      auto netns = namespaces.open(bond.name);
      if (!netns && netns.error().code == Code::kNotFound) {
        return fail(Code::kFailedPrecondition,
                    "the built-in overlay is off and there is no network namespace " +
                        namespaces.path(bond.name) + ": make it, with an interface eth0");
      }
      if (!netns) return tl::unexpected(netns.error());
      bond.netns = std::move(*netns);
    }
    std::string name = bond.name;
    bool made = bond.made;
    auto net = namespaces.connect(bond.netns.get());
    Status started = net ? Status{} : Status(tl::unexpected(net.error()));
    if (net) {
      bond.net = std::move(*net);
      started = start(endpoint.uid, std::move(bond));
    }
    if (!started && made) (void)namespaces.remove(name);
    return started;
  }

  Status bind_existing(EndpointUid uid, UniqueFd netns, std::string interface) {
    const EndpointView* endpoint = local(uid);
    if (endpoint == nullptr) {
      return fail(Code::kNotFound,
                  "endpoint " + std::to_string(uid.value) + " is not of this host");
    }
    if (auto it = bonds.find(uid); it != bonds.end()) {
      if (same_namespace(it->second.netns.get(), netns.get()) &&
          it->second.interface == interface) {
        return {};
      }
      return fail(Code::kFailedPrecondition,
                  endpoint->name + " is bound to another network namespace");
    }
    Bond bond;
    bond.netns = std::move(netns);
    bond.interface = std::move(interface);
    QMASQ_ASSIGN(bond.net, namespaces.connect(bond.netns.get()));
    QMASQ_TRY(start(uid, std::move(bond)));
    event(EventType::kEndpointBound, *endpoint, "a namespace made by others");
    refresh(uid);
    return {};
  }

  Status unbind(EndpointUid uid) {
    if (bonds.count(uid) == 0) {
      return fail(Code::kNotFound, "endpoint " + std::to_string(uid.value) + " is not bound");
    }
    drop(uid, local(uid), "unbound");
    if (local(uid) != nullptr) refresh(uid);
    return {};
  }

  // ---- status ----

  void refresh(EndpointUid uid) {
    const EndpointView* endpoint = local(uid);
    if (endpoint == nullptr) return;
    std::string problems = overlay != nullptr ? overlay->problems(uid) : std::string();
    BondStatus status;
    auto it = bonds.find(uid);
    if (it == bonds.end()) {
      status.message = problems;
    } else {
      Bond& bond = it->second;
      bond.problems = problems;
      // Faults of our overlay are none of a namespace that others wired.
      if (!bond.made) problems.clear();
      auto links = bond.net->links();
      auto addresses = bond.net->addresses();
      if (links && addresses) {
        status = judge(*endpoint, bond.interface, *links, *addresses, problems);
        bond.up = std::any_of(links->begin(), links->end(), [&](const netlink::Link& link) {
          return link.name == bond.interface && link.up;
        });
      } else {
        status.state = BondState::kDegraded;
        status.message = !links ? links.error().message : addresses.error().message;
        status.interface = bond.interface;
      }
      if (!bond.name.empty()) status.netns = namespaces.path(bond.name);
    }
    {
      std::lock_guard lock(mutex);
      auto [held, added] = statuses.try_emplace(uid, status);
      if (!added && held->second == status) return;
      held->second = status;
    }
    if (listener) listener(uid, status);
  }
};

Binder::Binder(Options options, netlink::Namespaces& namespaces, netlink::Loop& loop,
               const Clock& clock, EventLog& events, Overlay* overlay, Listener listener)
    : impl_(std::make_unique<Impl>(std::move(options), namespaces, loop, clock, events, overlay,
                                   std::move(listener))) {
  loop.post([impl = impl_.get()] {
    if (impl->overlay != nullptr) {
      impl->overlay->set_listener([impl] {
        // Later: the overlay tells from the middle of what may be our own call.
        impl->loop.post([impl] { impl->overlay_changed(); });
      });
    }
    impl->adopt();
  });
}

Binder::~Binder() = default;

Status Binder::check(const Change& change) {
  for (const EndpointView& endpoint : change.endpoints) {
    if (namespace_name(endpoint.name).empty()) {
      return fail(Code::kInvalidArgument, "\"" + endpoint.name + "\" is no name of an endpoint");
    }
  }
  return {};
}

void Binder::apply(const Change& change) {
  impl_->loop.post([impl = impl_.get(), change] { impl->take(change); });
}

void Binder::in_sync() {
  impl_->loop.post([impl = impl_.get()] {
    impl->in_sync = true;
    impl->settle({});
    for (const auto& [uid, endpoint] : impl->known)
      impl->refresh_later(uid);
  });
}

Result<BoundNamespace> Binder::bind(EndpointUid endpoint) {
  return impl_->on_loop<BoundNamespace>(
      [impl = impl_.get(), endpoint] { return impl->bind(endpoint); });
}

Status Binder::bind_existing(EndpointUid endpoint, UniqueFd netns, std::string interface) {
  return impl_->on_loop<void>(
      [impl = impl_.get(), endpoint, fd = std::move(netns), name = std::move(interface)]() mutable {
        return impl->bind_existing(endpoint, std::move(fd), std::move(name));
      });
}

Status Binder::unbind(EndpointUid endpoint) {
  return impl_->on_loop<void>([impl = impl_.get(), endpoint] { return impl->unbind(endpoint); });
}

std::vector<std::pair<EndpointUid, BondStatus>> Binder::list() const {
  std::lock_guard lock(impl_->mutex);
  return {impl_->statuses.begin(), impl_->statuses.end()};
}

}  // namespace qmasq::vbond
