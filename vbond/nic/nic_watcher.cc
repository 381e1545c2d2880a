// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/nic_watcher.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "vbond/nic/describe.h"
#include "vbond/nic/vpc_gid.h"

namespace qmasq::vbond {
namespace {

std::string describe_for_people(const Nic& nic) {
  std::string out = nic.device;
  if (!nic.driver.empty() || !nic.netdev.empty()) {
    out += fmt::format(" ({} on {})", nic.driver.empty() ? "unknown driver" : nic.driver,
                       nic.netdev.empty() ? "no interface" : nic.netdev);
  }
  return out;
}

}  // namespace

NicWatcher::NicWatcher(NicSource& source, UnderlaySource& underlay, EventLog& events,
                       NicMetrics& metrics, const Clock& clock, Options options, Listener listener)
    : source_(source),
      underlay_(underlay),
      events_(events),
      metrics_(metrics),
      clock_(clock),
      options_(std::move(options)),
      listener_(std::move(listener)) {}

NicWatcher::~NicWatcher() {
  stop();
}

void NicWatcher::start() {
  thread_ = std::thread([this] { run(); });
}

void NicWatcher::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

HostNics NicWatcher::current() const {
  std::lock_guard lock(mutex_);
  return current_;
}

void NicWatcher::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const int eager = eager_;
    wake_.wait_for(lock, eager > 0 ? options_.eager_interval : options_.interval,
                   [&] { return stopping_ || eager_ > eager; });
    if (stopping_) return;
    if (eager_ > 0) --eager_;
    lock.unlock();
    scan();
    lock.lock();
    if (!missing_) eager_ = 0;
  }
}

void NicWatcher::expect(std::set<Vni> vpcs) {
  {
    std::lock_guard lock(mutex_);
    if (expected_ == vpcs) return;
    expected_ = std::move(vpcs);
    eager_ = options_.eager_looks;
  }
  wake_.notify_all();
}

bool NicWatcher::await(Vni vpc, std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return looked_.wait_for(lock, limit, [&] {
    return std::all_of(current_.nics.begin(), current_.nics.end(), [&](const Nic& nic) {
      return !nic.active || !nic.vpc_prefix || vpc_gid_index(nic, vpc);
    });
  });
}

// Those of VPCs apart from the NIC's own, and whether all are there that should be.
void NicWatcher::take_vpcs(HostNics& now) {
  missing_ = false;
  if (!options_.vpc_gids || !now.underlay) return;
  auto prefix = own_vpc_prefix(*options_.vpc_gids, *now.underlay);
  complain("GIDs of VPCs", prefix ? "" : "--vpc-gids: " + prefix.error().message);
  if (!prefix) return;
  std::set<Vni> expected;
  {
    std::lock_guard lock(mutex_);
    expected = expected_;
  }
  for (Nic& nic : now.nics) {
    if (!nic.primary || nic.netdev.empty()) continue;
    take_vpc_gids(nic, *prefix);
    // The kernel drops the addresses of an interface that is down.
    for (const Vni& vni : expected)
      missing_ = missing_ || (nic.active && !vpc_gid_index(nic, vni));
  }
}

bool NicWatcher::wanted(const std::string& device) const {
  return options_.only.empty() ||
         std::find(options_.only.begin(), options_.only.end(), device) != options_.only.end();
}

bool NicWatcher::must_describe(const Known* known, const NicGlance& glance) const {
  return known == nullptr || known->glance != glance || !known->nic.primary || missing_ ||
         clock_.now() - known->described >= options_.refresh;
}

void NicWatcher::complain(const std::string& about, const std::string& text) {
  auto& said = complaints_[about];
  if (said == text) return;
  said = text;
  if (!text.empty()) spdlog::warn("{}", text);
}

void NicWatcher::scan() {
  HostNics now;
  if (auto address = underlay_.address()) {
    now.underlay = *address;
    complain("underlay", "");
  } else {
    complain("underlay", "underlay address: " + address.error().message);
  }

  auto glances = source_.glance();
  if (!glances) {
    // Not the same as "no devices": what is known stays until the kernel answers.
    complain("devices", glances.error().message);
    return;
  }
  complain("devices", "");

  std::map<std::string, Known> before = std::exchange(known_, {});
  for (const NicGlance& glance : *glances) {
    if (!wanted(glance.device)) continue;
    auto old = before.find(glance.device);
    Known* known =
        old != before.end() && old->second.glance.index == glance.index ? &old->second : nullptr;
    if (!must_describe(known, glance)) {
      known_[glance.device] = *known;
      continue;
    }
    auto nic = source_.describe(glance.device);
    if (nic) {
      complain(glance.device, "");
      known_[glance.device] = Known{glance, std::move(*nic), clock_.now()};
    } else if (nic.error().code != Code::kNotFound) {
      complain(glance.device,
               fmt::format("NIC {} does not answer: {}", glance.device, nic.error().message));
      // A device that is there and does not answer now keeps its last description.
      if (known != nullptr) known_[glance.device] = *known;
    }
  }

  for (auto& [device, known] : known_) {
    known.nic.primary =
        now.underlay ? primary_gid(known.nic.gids, *now.underlay) : std::optional<PhysicalGid>();
    if (!known.nic.primary && now.underlay) {
      complain(device + " primary",
               fmt::format("NIC {} has no RoCE v2 GID of the underlay address {}: it carries no "
                           "traffic of tenants until its interface has that address",
                           device, to_string(*now.underlay)));
    } else {
      complain(device + " primary", "");
    }
    now.nics.push_back(known.nic);
  }
  for (const auto& name : options_.only) {
    complain(name + " wanted", known_.count(name) != 0
                                   ? ""
                                   : fmt::format("no NIC named {} (given with --nic): `rdma "
                                                 "link` lists those there are",
                                                 name));
  }

  take_vpcs(now);
  report_changes(before);
  auto active =
      std::count_if(now.nics.begin(), now.nics.end(), [](const Nic& nic) { return nic.active; });
  auto usable = std::count_if(now.nics.begin(), now.nics.end(),
                              [](const Nic& nic) { return nic.active && nic.primary; });
  metrics_.set_devices(static_cast<std::size_t>(active),
                       now.nics.size() - static_cast<std::size_t>(active),
                       static_cast<std::size_t>(usable));
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    changed = current_ != now;
    if (changed) current_ = now;
  }
  if (changed) listener_(now);
  looked_.notify_all();
}

void NicWatcher::report_changes(const std::map<std::string, Known>& before) {
  auto same = [](const std::map<std::string, Known>& in, const Known& known) {
    auto found = in.find(known.nic.device);
    return found != in.end() && found->second.glance.index == known.glance.index;
  };
  for (const auto& [device, known] : before) {
    if (same(known_, known)) continue;
    metrics_.count_lost();
    Event event;
    event.type = EventType::kNicLost;
    event.reason = "NIC " + describe_for_people(known.nic) +
                   " is gone; connections over it fail, new ones are refused";
    events_.record(std::move(event));
  }
  for (const auto& [device, known] : known_) {
    if (same(before, known)) continue;
    metrics_.count_found();
    Event event;
    event.type = EventType::kNicFound;
    event.reason =
        fmt::format("NIC {}{}", describe_for_people(known.nic),
                    known.nic.primary ? fmt::format(": GID {} at index {}, MTU {}",
                                                    to_string(known.nic.primary->gid),
                                                    known.nic.primary->index, known.nic.active_mtu)
                                      : std::string(": no GID of the underlay address yet"));
    events_.record(std::move(event));
  }
}

}  // namespace qmasq::vbond
