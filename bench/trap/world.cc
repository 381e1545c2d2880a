// SPDX-License-Identifier: Apache-2.0
#include "bench/trap/world.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "vbond/attach/protocol.h"
#include "vbond/rename/policy_change.h"
#include "vbond/uverbs/call.h"

namespace qmasq::bench {

using namespace vbond;  // NOLINT: all of this is about the agent

namespace {

constexpr VpcUid kVpc{1};
constexpr SecurityGroupUid kGroup{1};
constexpr std::size_t kHosts = World::kHosts;

Gid host_gid(std::size_t host) {
  return Gid::from_ip(IpAddress::from_v4(0xc0a80001U + static_cast<std::uint32_t>(host)));
}

class StubFile final : public VerbsFile {
 public:
  StubFile(test::StubNic& nic, std::uint64_t id, UniqueFd fd)
      : nic_(nic), id_(id), fd_(std::move(fd)) {}
  ~StubFile() override { nic_.release(id_); }
  StubFile(const StubFile&) = delete;
  StubFile& operator=(const StubFile&) = delete;
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  [[nodiscard]] ErrnoOr<int> call(void* header) override {
    // StubNic keeps books under locks, for tests; the time of that is not the agent's. So the verb
    // that is measured ends here: a driver would only see that the address is one of the underlay.
    if (auto dgid = modify_qp_dgid(header)) {
      if (dgid->is_zero()) return 0;  // no address vector
      if (!is_physical(*dgid)) return tl::unexpected(EADDRNOTAVAIL);
      return 0;
    }
    return nic_.call(id_, header);
  }

 private:
  static std::optional<Gid> modify_qp_dgid(const void* header) {
    const auto* bytes = static_cast<const std::byte*>(header);
    std::uint16_t length = 0;
    std::memcpy(&length, bytes, sizeof(length));
    auto call = uverbs::decode_call(std::span(bytes, length));
    if (!call || call->write_cmd() != static_cast<std::uint32_t>(uverbs::WriteCommand::kModifyQp)) {
      return std::nullopt;
    }
    auto core_in = call->find(uverbs::attr::kCoreIn);
    if (!core_in || core_in->len < sizeof(Gid)) return std::nullopt;
    Gid dgid;  // the first field of struct ib_uverbs_modify_qp
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the ABI carries pointers as numbers
    const void* core = reinterpret_cast<const void*>(core_in->data);
    std::memcpy(dgid.raw.data(), core, dgid.raw.size());
    return dgid;
  }
  static bool is_physical(const Gid& gid) {
    const std::uint32_t host = gid.raw[14] * 256U + gid.raw[15];
    return host >= 1 && host <= kHosts && gid == host_gid(host - 1);
  }

  test::StubNic& nic_;
  const std::uint64_t id_;
  const UniqueFd fd_;
};

conntrack::Group members_admit_each_other() {
  conntrack::Group out;
  out.uid = kGroup;
  out.vpc = kVpc;
  out.name = "vpcs/bench/securityGroups/default";
  conntrack::Rule rule;
  rule.id = "self-in";
  rule.remote.kind = conntrack::Remote::Kind::kGroup;
  rule.remote.group = kGroup;
  out.rules = {rule};
  return out;
}

// Endpoints with one address each, spread over the hosts; names as long as people's are.
Change state_with(std::size_t entries) {
  Change change;
  change.groups.push_back(members_admit_each_other());
  change.revision = Revision{1};
  change.snapshot = true;
  change.vpcs.push_back({kVpc, "vpcs/bench", Vni{4096}, {}, 0});
  for (std::size_t host = 0; host < kHosts; ++host) {
    change.hosts.push_back({HostUid{host + 1},
                            "hosts/host-" + std::to_string(host),
                            host_gid(host).address(),
                            {{"rxe0", host_gid(host)}}});
  }
  change.endpoints.reserve(entries);
  for (std::size_t i = 0; i < entries; ++i) {
    Mac mac{{0x02, 0x71, static_cast<std::uint8_t>(i >> 24U), static_cast<std::uint8_t>(i >> 16U),
             static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)}};
    change.endpoints.push_back({EndpointUid{i + 1},
                                kVpc,
                                "vpcs/bench/endpoints/worker-" + std::to_string(i),
                                HostUid{i % kHosts + 1},
                                mac,
                                {IpAddress::from_v4(World::address(i))},
                                {kGroup}});
  }
  return change;
}

}  // namespace

ErrnoOr<std::unique_ptr<VerbsFile>> StubDevices::open(std::string_view /*node*/, int flags) {
  UniqueFd fd(::open("/dev/null", flags | O_CLOEXEC));
  return std::make_unique<StubFile>(nic_, next_file_++, std::move(fd));
}

ErrnoOr<std::unique_ptr<VerbsFile>> StubDevices::adopt(UniqueFd file) {
  return std::make_unique<StubFile>(nic_, next_file_++, std::move(file));
}

std::string StubDevices::node_of(dev_t /*device*/) {
  return "uverbs0";
}

std::string StubDevices::rdma_device_of(std::string_view /*node*/) {
  return "rxe0";
}

World::World(std::size_t entries)
    : metrics_(std::move(*Metrics::create("qmasq-bench-trap", ""))),
      events_(clock_, 4096),
      endpoints_(peers_, sync_) {
  rename_metrics_ = std::make_unique<RenameMetrics>(metrics_->registry(), peers_);
  renamer_ = std::make_unique<Renamer>(
      Renamer::Parts{sync_, endpoints_, peers_, nics_, tracker_, connections_, events_, clock_,
                     wire_, rename_metrics_.get()},
      RenameOptions{});
  Nic nic;
  nic.device = "rxe0";
  nic.driver = "rxe";
  nic.active = true;
  nic.active_mtu = 1024;
  nic.primary = PhysicalGid{1, host_gid(0), GidType::kRoceV2};
  nic.gids = {*nic.primary};
  (void)nics_.update({nic});
  endpoints_.set_host(HostUid{1}, "hosts/host-0");
  const Change change = state_with(entries);
  peers_.apply(change);
  endpoints_.apply(change);
  (void)tracker_.apply(policy_change(change));
  sync_.mark_in_sync(change.revision);
  admission_ = std::make_unique<AdmissionControl>(clock_, events_, metrics_->registry());
  Interceptor::Parts parts{
      *renamer_, endpoints_,           nics_,      events_, clock_, memory_, devices_,
      tasks_,    metrics_->registry(), *admission_};
  parts.redirector = redirector_.get();
  interceptor_ = std::make_unique<Interceptor>(parts, InterceptOptions{});
}

World::~World() = default;

Status World::attach(UniqueFd listener, pid_t pid, std::size_t entry, std::uint64_t kept_below) {
  QMASQ_ASSIGN(auto port, open_port(std::move(listener)));
  return interceptor_->attach(std::move(port), EndpointUid{entry + 1}, pid, "bench", kept_below);
}

Status World::attach_sealed(UniqueFd listener, pid_t pid) {
  return attach(std::move(listener), pid, 0, kKeptBelow);
}

void World::limit_verbs(std::size_t entry, std::optional<qos::VerbRate> rate) {
  auto policy = std::make_shared<qos::Policy>();
  policy->verb_rates.rates[static_cast<std::size_t>(qos::VerbKind::kVerbs)] = rate;
  auto endpoint = std::make_shared<GovernedEndpoint>();
  endpoint->uid = EndpointUid{entry + 1};
  endpoint->name = "vpcs/bench/endpoints/worker-" + std::to_string(entry);
  endpoint->vpc_name = "vpcs/bench";
  endpoint->own = std::move(policy);
  admission_->policies_changed({{endpoint->uid, endpoint}});
}

}  // namespace qmasq::bench
