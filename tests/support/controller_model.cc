// SPDX-License-Identifier: Apache-2.0
#include "tests/support/controller_model.h"

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <ostream>

namespace qmasq::test {
namespace {

using google::protobuf::util::MessageDifferencer;
using qmasq::v1::SyncResponse;

std::string join(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts)
    out += (out.empty() ? "" : ",") + text;
  return out;
}

std::string show_endpoint(const std::string& name, std::uint64_t vpc, std::uint64_t host,
                          const std::string& mac, const std::vector<std::string>& addresses) {
  return fmt::format("{} vpc={} host={} mac={} {}", name, vpc, host, mac, join(addresses));
}

// Spreads objects over parts of one batch.
class Parts {
 public:
  Parts(std::uint64_t revision, bool snapshot, std::size_t size)
      : revision_(revision), snapshot_(snapshot), size_(size) {
    begin();
  }
  qmasq::v1::Batch& next() {
    if (in_part_ == size_) {
      out_.back().mutable_batch()->set_more(true);
      begin();
    }
    ++in_part_;
    any_ = true;
    return *out_.back().mutable_batch();
  }
  std::vector<SyncResponse> take() {
    if (!any_ && !snapshot_) return {};
    return std::move(out_);
  }

 private:
  void begin() {
    auto* batch = out_.emplace_back().mutable_batch();
    batch->set_revision(revision_);
    batch->set_snapshot(snapshot_);
    in_part_ = 0;
  }
  const std::uint64_t revision_;
  const bool snapshot_;
  const std::size_t size_;
  std::size_t in_part_ = 0;
  bool any_ = false;
  std::vector<SyncResponse> out_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const WorldState& state) {
  for (const auto& [uid, text] : state.vpcs)
    out << "\n  vpc " << uid << " " << text;
  for (const auto& [uid, text] : state.endpoints)
    out << "\n  endpoint " << uid << " " << text;
  for (const auto& [uid, text] : state.hosts)
    out << "\n  host " << uid << " " << text;
  return out;
}

ControllerModel::Objects& ControllerModel::next() {
  history_.push_back(history_.back());
  return history_.back();
}

void ControllerModel::put_host(std::uint64_t uid, const std::string& id,
                               const std::string& underlay) {
  auto& host = next().hosts[uid];
  host.set_uid(uid);
  host.set_name("hosts/" + id);
  host.set_underlay_address(underlay);
  host.clear_nics();
  auto* nic = host.add_nics();
  nic->set_device("rxe0");
  nic->set_primary_gid(to_string(Gid::from_ip(*parse_ip(underlay))));
}

void ControllerModel::put_vpc(std::uint64_t uid, const std::string& id, std::uint32_t vni) {
  auto& vpc = next().vpcs[uid];
  vpc.set_uid(uid);
  vpc.set_name("vpcs/" + id);
  vpc.set_vni(vni);
  vpc.clear_ranges();
  vpc.add_ranges("10.0.0.0/16");
}

void ControllerModel::put_endpoint(std::uint64_t uid, std::uint64_t vpc, const std::string& id,
                                   const std::string& host,
                                   const std::vector<std::string>& addresses) {
  auto& objects = next();
  auto& endpoint = objects.endpoints[uid];
  endpoint.set_uid(uid);
  endpoint.set_vpc_uid(vpc);
  endpoint.set_name(objects.vpcs.at(vpc).name() + "/endpoints/" + id);
  endpoint.set_host("hosts/" + host);
  endpoint.set_mac(fmt::format("02:71:00:00:{:02x}:{:02x}", uid >> 8U & 0xffU, uid & 0xffU));
  endpoint.clear_addresses();
  for (const auto& address : addresses)
    endpoint.add_addresses(address);
}

void ControllerModel::put_policy(std::uint64_t uid, const std::string& id,
                                 std::uint64_t maximum_bps) {
  auto& policy = next().policies[uid];
  policy.set_uid(uid);
  policy.set_name("qosPolicies/" + id);
  policy.set_maximum_bps(maximum_bps);
}

void ControllerModel::attach_policy(std::uint64_t endpoint, std::uint64_t policy) {
  auto& objects = next();
  auto& changed = objects.endpoints.at(endpoint);
  changed.set_qos_policy_uid(policy);
  changed.set_qos_policy(policy == 0 ? "" : objects.policies.at(policy).name());
}

void ControllerModel::remove_vpc(std::uint64_t uid) {
  auto& objects = next();
  objects.vpcs.erase(uid);
  std::erase_if(objects.endpoints,
                [&](const auto& entry) { return entry.second.vpc_uid() == uid; });
}

void ControllerModel::remove_endpoint(std::uint64_t uid) {
  next().endpoints.erase(uid);
}

WorldState ControllerModel::state() const {
  const Objects& objects = history_.back();
  WorldState out;
  std::map<std::string, std::uint64_t> hosts;
  for (const auto& [uid, vpc] : objects.vpcs) {
    out.vpcs[uid] = fmt::format("{} vni={} {}", vpc.name(), vpc.vni(), vpc.ranges(0));
  }
  for (const auto& [uid, host] : objects.hosts) {
    hosts[host.name()] = uid;
    out.hosts[uid] =
        fmt::format("{} {} {}", host.name(), host.underlay_address(), host.nics(0).primary_gid());
  }
  for (const auto& [uid, endpoint] : objects.endpoints) {
    out.endpoints[uid] =
        show_endpoint(endpoint.name(), endpoint.vpc_uid(), hosts[endpoint.host()], endpoint.mac(),
                      {endpoint.addresses().begin(), endpoint.addresses().end()});
  }
  return out;
}

SyncResponse ControllerModel::welcome(std::uint64_t host_uid, std::uint32_t heartbeat_ms) const {
  SyncResponse out;
  out.mutable_welcome()->set_store_id(store_id_);
  out.mutable_welcome()->set_host_uid(host_uid);
  out.mutable_welcome()->set_heartbeat_interval_ms(heartbeat_ms);
  return out;
}

SyncResponse ControllerModel::in_sync() const {
  SyncResponse out;
  out.mutable_in_sync()->set_revision(revision());
  return out;
}

std::vector<SyncResponse> ControllerModel::catch_up(const qmasq::v1::Hello& hello,
                                                    std::size_t part) const {
  std::vector<SyncResponse> out;
  if (hello.store_id() == store_id_ && hello.held_revision() <= revision()) {
    out = changes(hello.held_revision(), revision(), part);
  } else {
    out = diff(Objects{}, history_.back(), revision(), true, part);
  }
  out.push_back(in_sync());
  return out;
}

std::vector<SyncResponse> ControllerModel::changes(std::uint64_t from, std::uint64_t to,
                                                   std::size_t part) const {
  return diff(history_.at(from), history_.at(to), to, false, part);
}

std::vector<SyncResponse> ControllerModel::diff(const Objects& from, const Objects& to,
                                                std::uint64_t revision, bool snapshot,
                                                std::size_t part) {
  Parts parts(revision, snapshot, part);
  auto news = [](const auto& before, const auto& after, auto add) {
    for (const auto& [uid, object] : after) {
      auto old = before.find(uid);
      if (old == before.end() || !MessageDifferencer::Equals(old->second, object)) add(object);
    }
  };
  auto gone = [](const auto& before, const auto& after, auto add) {
    for (const auto& [uid, object] : before) {
      if (after.count(uid) == 0) add(uid, object);
    }
  };
  // Endpoints first: a receiver must not count on an order inside a batch.
  news(from.endpoints, to.endpoints, [&](const auto& o) { *parts.next().add_endpoints() = o; });
  news(from.vpcs, to.vpcs, [&](const auto& o) { *parts.next().add_vpcs() = o; });
  news(from.hosts, to.hosts, [&](const auto& o) { *parts.next().add_hosts() = o; });
  news(from.policies, to.policies, [&](const auto& o) { *parts.next().add_qos_policies() = o; });
  gone(from.policies, to.policies,
       [&](auto uid, const auto&) { parts.next().add_removed_qos_policy_uids(uid); });
  gone(from.vpcs, to.vpcs, [&](auto uid, const auto&) { parts.next().add_removed_vpc_uids(uid); });
  gone(from.endpoints, to.endpoints, [&](auto uid, const auto& endpoint) {
    // Goes with its VPC.
    if (to.vpcs.count(endpoint.vpc_uid()) != 0) parts.next().add_removed_endpoint_uids(uid);
  });
  gone(from.hosts, to.hosts,
       [&](auto uid, const auto&) { parts.next().add_removed_host_uids(uid); });
  return parts.take();
}

void apply_to(WorldState& state, std::map<std::uint64_t, std::uint64_t>& vpc_of_endpoint,
              const vbond::Change& change) {
  if (change.snapshot) {
    state = {};
    vpc_of_endpoint.clear();
  }
  for (auto vpc : change.removed_vpcs) {
    state.vpcs.erase(vpc.value);
    std::erase_if(state.endpoints,
                  [&](const auto& entry) { return vpc_of_endpoint[entry.first] == vpc.value; });
  }
  for (auto endpoint : change.removed_endpoints)
    state.endpoints.erase(endpoint.value);
  for (auto host : change.removed_hosts)
    state.hosts.erase(host.value);
  for (const auto& vpc : change.vpcs) {
    state.vpcs[vpc.uid.value] =
        fmt::format("{} vni={} {}", vpc.name, vpc.vni.value, to_string(vpc.ranges.at(0)));
  }
  for (const auto& host : change.hosts) {
    state.hosts[host.uid.value] =
        fmt::format("{} {} {}", host.name, to_string(host.underlay),
                    host.nics.empty() ? "no NIC" : to_string(host.nics[0].primary_gid));
  }
  for (const auto& endpoint : change.endpoints) {
    std::vector<std::string> addresses;
    for (const auto& address : endpoint.addresses)
      addresses.push_back(to_string(address));
    vpc_of_endpoint[endpoint.uid.value] = endpoint.vpc.value;
    state.endpoints[endpoint.uid.value] = show_endpoint(
        endpoint.name, endpoint.vpc.value, endpoint.host.value, to_string(endpoint.mac), addresses);
  }
}

}  // namespace qmasq::test
