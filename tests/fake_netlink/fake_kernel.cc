// SPDX-License-Identifier: Apache-2.0
#include "tests/fake_netlink/fake_kernel.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace qmasq::test {

using namespace vbond::netlink;  // NOLINT(google-build-using-namespace): the fake is all about it

struct FakeKernel::Namespace {
  struct Device {
    Link link;
    Namespace* peer_home = nullptr;  // of a veth
    int peer = 0;
    Namespace* underlay = nullptr;  // of a VXLAN device
  };
  std::map<int, Device> devices;
  std::vector<Address> addresses;
  std::vector<Neighbour> neighbours;
  std::vector<FdbEntry> fdb;
  int next_index = 1;
  std::vector<int> watchers;  // eventfds of monitors, owned by them

  Device* by_name(const std::string& name) {
    for (auto& [index, device] : devices) {
      if (device.link.name == name) return &device;
    }
    return nullptr;
  }

  void tell() const {
    for (int fd : watchers) {
      std::uint64_t one = 1;
      (void)!::write(fd, &one, sizeof one);
    }
  }
};

namespace {

using Namespace = FakeKernel::Namespace;

ino_t inode_of(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

Status no_link(const std::string& name) {
  return fail_errno(ENODEV, "link " + name);
}

template <typename T, typename Match>
bool erase_where(std::vector<T>& list, Match match) {
  auto end = std::remove_if(list.begin(), list.end(), match);
  bool any = end != list.end();
  list.erase(end, list.end());
  return any;
}

void remove_device(Namespace& ns, int index) {
  auto it = ns.devices.find(index);
  if (it == ns.devices.end()) return;
  Namespace* peer_home = it->second.peer_home;
  int peer = it->second.peer;
  ns.devices.erase(it);
  for (auto& [other, device] : ns.devices) {
    if (device.link.master == index) {
      device.link.master = 0;
      device.link.port.reset();
    }
  }
  auto on_it = [index](const auto& entry) { return entry.link == index; };
  erase_where(ns.addresses, on_it);
  erase_where(ns.neighbours, on_it);
  erase_where(ns.fdb, on_it);
  ns.tell();
  if (peer_home != nullptr) remove_device(*peer_home, peer);
}

}  // namespace

class FakeNetlink final : public Netlink {
 public:
  FakeNetlink(FakeKernel& kernel, Namespace& ns) : kernel_(kernel), ns_(ns) {}

  Result<std::vector<Link>> links() override {
    ++kernel_.dumps_;
    std::vector<Link> links;
    for (const auto& [index, device] : ns_.devices)
      links.push_back(device.link);
    return links;
  }
  Result<std::vector<Address>> addresses() override {
    ++kernel_.dumps_;
    return ns_.addresses;
  }
  Result<std::vector<Neighbour>> neighbours() override {
    ++kernel_.dumps_;
    return ns_.neighbours;
  }
  Result<std::vector<FdbEntry>> fdb() override {
    ++kernel_.dumps_;
    return ns_.fdb;
  }

  std::vector<Status> apply(std::span<const Operation> operations) override {
    std::vector<Status> results;
    for (const Operation& operation : operations) {
      std::string text = describe(operation);
      kernel_.operations_.push_back(text);
      if (kernel_.failures_ > 0 && text.find(kernel_.failing_) != std::string::npos) {
        --kernel_.failures_;
        results.push_back(fail_errno(kernel_.failing_err_, text + ": injected"));
        continue;
      }
      Status done = std::visit([&](const auto& op) { return run(op); }, operation);
      if (!done) done = with_context(std::move(done).error(), text);
      results.push_back(std::move(done));
    }
    return results;
  }

 private:
  Status run(const AddLink& op) {
    if (op.link.name.size() > kMaxLinkName) return fail_errno(ERANGE, op.link.name);
    Namespace* home = op.target >= 0 ? kernel_.find(op.target) : &ns_;
    if (home == nullptr) return fail_errno(EINVAL, "target");
    if (home->by_name(op.link.name) != nullptr) return fail_errno(EEXIST, op.link.name);
    Namespace* peer_home = nullptr;
    if (op.link.kind == LinkKind::kVeth && op.peer) {
      peer_home = op.peer_target >= 0 ? kernel_.find(op.peer_target) : home;
      if (peer_home == nullptr) return fail_errno(EINVAL, "target of the peer");
      if (peer_home->by_name(op.peer->name) != nullptr) return fail_errno(EEXIST, op.peer->name);
    }
    if (op.link.vxlan && vni_taken(*op.link.vxlan)) {
      return fail_errno(EEXIST, "kernel: a VXLAN device of this VNI is there already");
    }
    Namespace::Device& made = place(*home, op.link);
    if (op.link.kind == LinkKind::kVxlan) made.underlay = &ns_;
    if (peer_home != nullptr) {
      Link peer = *op.peer;
      peer.kind = LinkKind::kVeth;
      Namespace::Device& other = place(*peer_home, peer);
      other.peer_home = home;
      other.peer = made.link.index;
      made.peer_home = peer_home;
      made.peer = other.link.index;
    }
    return {};
  }

  bool vni_taken(const VxlanOptions& wanted) {
    for (const auto& [inode, home] : kernel_.namespaces_) {
      for (const auto& [index, device] : home->devices) {
        if (device.underlay == &ns_ && device.link.vxlan && device.link.vxlan->vni == wanted.vni &&
            device.link.vxlan->port == wanted.port) {
          return true;
        }
      }
    }
    return false;
  }

  static Namespace::Device& place(Namespace& home, Link link) {
    link.index = home.next_index++;
    link.up = false;
    link.master = 0;
    link.port.reset();
    link.alias.clear();
    if (link.mtu == 0) link.mtu = 1500;
    if (link.mac.is_zero()) {
      link.mac.bytes = {0x02, 0xfa, 0, 0, 0, static_cast<std::uint8_t>(link.index)};
    }
    home.tell();
    auto& device = home.devices[link.index];
    device.link = std::move(link);
    return device;
  }

  Status run(const SetLink& op) {
    Namespace::Device* device = ns_.by_name(op.name);
    if (device == nullptr) return no_link(op.name);
    Link& link = device->link;
    if (op.master) {
      Namespace::Device* master = op.master->empty() ? nullptr : ns_.by_name(*op.master);
      if (!op.master->empty() && master == nullptr) return no_link(*op.master);
      if (master != nullptr && master->link.kind != LinkKind::kBridge) {
        return fail_errno(EOPNOTSUPP, *op.master);
      }
      link.master = master != nullptr ? master->link.index : 0;
      if (master != nullptr) {
        if (!link.port) link.port = BridgePort{};
      } else {
        link.port.reset();
      }
    }
    if (op.mtu) link.mtu = *op.mtu;
    if (op.mac) link.mac = *op.mac;
    if (op.alias) link.alias = *op.alias;
    if (op.port) {
      // Without a master to ask, the kernel passes over the flags in silence.
      if (link.port) link.port = *op.port;
    }
    if (op.up) {
      link.up = *op.up;
      if (!*op.up) {
        int index = link.index;
        erase_where(ns_.neighbours, [&](const Neighbour& entry) { return entry.link == index; });
        erase_where(ns_.addresses, [&](const Address& address) {
          return address.link == index && !address.ip.is_v4();
        });
      }
    }
    ns_.tell();
    return {};
  }

  Status run(const DeleteLink& op) {
    Namespace::Device* device = ns_.by_name(op.name);
    if (device == nullptr) return no_link(op.name);
    if (device->link.kind == LinkKind::kLoopback) return fail_errno(EOPNOTSUPP, op.name);
    remove_device(ns_, device->link.index);
    return {};
  }

  Status run(const AddAddress& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    Address made{device->link.index, op.ip, op.prefix, kProtocol};
    erase_where(ns_.addresses, [&](const Address& a) {
      return a.link == made.link && a.ip == made.ip && a.prefix == made.prefix;
    });
    ns_.addresses.push_back(made);
    ns_.tell();
    return {};
  }
  Status run(const DeleteAddress& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    bool any = erase_where(ns_.addresses, [&](const Address& a) {
      return a.link == device->link.index && a.ip == op.ip && a.prefix == op.prefix;
    });
    if (!any) return fail_errno(EADDRNOTAVAIL, to_string(op.ip));
    ns_.tell();
    return {};
  }

  Status run(const PutNeighbour& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    int index = device->link.index;
    erase_where(ns_.neighbours,
                [&](const Neighbour& n) { return n.link == index && n.ip == op.ip; });
    ns_.neighbours.push_back({index, op.ip, op.mac, true, kProtocol});
    return {};
  }
  Status run(const DeleteNeighbour& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    bool any = erase_where(ns_.neighbours, [&](const Neighbour& n) {
      return n.link == device->link.index && n.ip == op.ip;
    });
    return any ? Status{} : fail_errno(ENOENT, to_string(op.ip));
  }

  // A bridge has one entry for a MAC, whatever the port.
  bool same_entry(const FdbEntry& entry, FdbEntry::Table table, const Mac& mac, const Link& link) {
    if (entry.table != table || entry.mac != mac) return false;
    if (table == FdbEntry::Table::kDevice) return entry.link == link.index;
    auto other = ns_.devices.find(entry.link);
    return other != ns_.devices.end() && other->second.link.master == link.master;
  }

  Status run(const PutFdb& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    const Link& link = device->link;
    if (op.table == FdbEntry::Table::kBridge && link.master == 0) {
      return fail_errno(EOPNOTSUPP, op.link);
    }
    erase_where(ns_.fdb,
                [&](const FdbEntry& entry) { return same_entry(entry, op.table, op.mac, link); });
    ns_.fdb.push_back({link.index, op.table, op.mac, op.remote, true, false});
    return {};
  }
  Status run(const DeleteFdb& op) {
    Namespace::Device* device = ns_.by_name(op.link);
    if (device == nullptr) return no_link(op.link);
    bool any = erase_where(ns_.fdb, [&](const FdbEntry& entry) {
      return entry.link == device->link.index && entry.table == op.table && entry.mac == op.mac;
    });
    return any ? Status{} : fail_errno(ENOENT, to_string(op.mac));
  }

  FakeKernel& kernel_;
  Namespace& ns_;
};

class FakeMonitor final : public Monitor {
 public:
  explicit FakeMonitor(Namespace& ns) : ns_(ns), event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    ns_.watchers.push_back(event_.get());
  }
  ~FakeMonitor() override {
    erase_where(ns_.watchers, [&](int fd) { return fd == event_.get(); });
  }
  int fd() const override { return event_.get(); }
  Result<bool> drain() override {
    std::uint64_t count = 0;
    return ::read(event_.get(), &count, sizeof count) == sizeof count;
  }

 private:
  Namespace& ns_;
  UniqueFd event_;
};

FakeKernel::FakeKernel() : own_(make_namespace()) {}
FakeKernel::~FakeKernel() = default;

UniqueFd FakeKernel::make_namespace() {
  // A descriptor whose inode stands for the namespace, however often it is duplicated.
  UniqueFd fd(::memfd_create("fake-netns", MFD_CLOEXEC));
  auto ns = std::make_unique<Namespace>();
  Link loopback;
  loopback.index = ns->next_index++;
  loopback.name = "lo";
  loopback.kind = LinkKind::kLoopback;
  loopback.mtu = 65536;
  ns->devices[loopback.index].link = loopback;
  namespaces_[inode_of(fd.get())] = std::move(ns);
  return fd;
}

FakeKernel::Namespace* FakeKernel::find(int netns) {
  auto it = namespaces_.find(inode_of(netns < 0 ? own_.get() : netns));
  return it == namespaces_.end() ? nullptr : it->second.get();
}

Result<std::vector<std::string>> FakeKernel::names() {
  std::vector<std::string> all;
  for (const auto& [name, fd] : names_)
    all.push_back(name);
  return all;
}

Result<UniqueFd> FakeKernel::open(const std::string& name) {
  auto it = names_.find(name);
  if (it == names_.end()) return fail_errno(ENOENT, "open " + path(name));
  return UniqueFd(::fcntl(it->second.get(), F_DUPFD_CLOEXEC, 0));
}

Result<UniqueFd> FakeKernel::create(const std::string& name, const std::string& mark) {
  if (names_.count(name) > 0) return fail(Code::kAlreadyExists, path(name) + " is there already");
  if (failures_ > 0 && ("create namespace " + name).find(failing_) != std::string::npos) {
    --failures_;
    return fail_errno(failing_err_, "create namespace " + name + ": injected");
  }
  UniqueFd fd = make_namespace();
  Link& loopback = find(fd.get())->devices.at(1).link;
  loopback.up = true;
  loopback.alias = mark;
  names_[name] = UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  return fd;
}

Status FakeKernel::remove(const std::string& name) {
  if (names_.erase(name) == 0) return fail_errno(ENOENT, "remove " + path(name));
  return {};
}

Result<std::unique_ptr<Netlink>> FakeKernel::connect(int netns) {
  Namespace* ns = find(netns);
  if (ns == nullptr) return fail_errno(EINVAL, "not a namespace");
  return std::make_unique<FakeNetlink>(*this, *ns);
}

Result<std::unique_ptr<Monitor>> FakeKernel::monitor(int netns) {
  Namespace* ns = find(netns);
  if (ns == nullptr) return fail_errno(EINVAL, "not a namespace");
  return std::make_unique<FakeMonitor>(*ns);
}

void FakeKernel::fail_next(const std::string& what, int err, int times) {
  failing_ = what;
  failing_err_ = err;
  failures_ = times;
}

std::vector<std::string> FakeKernel::take_operations() {
  return std::exchange(operations_, {});
}

}  // namespace qmasq::test
