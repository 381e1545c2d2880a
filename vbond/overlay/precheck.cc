// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <thread>
#include <utility>

#include "vbond/netlink/encode.h"
#include "vbond/netlink/socket.h"
#include "vbond/overlay/overlay.h"

namespace qmasq::vbond {
namespace {

using netlink::AddLink;
using netlink::LinkKind;
using netlink::Socket;

std::string advise(const Error& error, const std::string& module) {
  if (error.err == EOPNOTSUPP) {
    return error.message + ". Load the module \"" + module + "\" (modprobe " + module +
           "); if there is none, this kernel was built without it";
  }
  if (error.err == EPERM || error.err == EACCES) {
    return error.message + ". Run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN";
  }
  return error.message;
}

AddLink sample(LinkKind kind) {
  AddLink add;
  add.link.name = "qmcheck";
  add.link.kind = kind;
  if (kind == LinkKind::kVxlan) {
    add.link.vxlan = netlink::VxlanOptions{Vni{1}, IpAddress::from_v4(0x7f000001), 4789, false};
  }
  if (kind == LinkKind::kVeth) {
    add.peer.emplace();
    add.peer->name = "qmcheckpeer";
  }
  return add;
}

// On a thread of its own: its namespace goes with it.
std::vector<PrecheckItem> check_here() {
  std::vector<PrecheckItem> items;
  auto note = [&](std::string what, const Status& done, const std::string& module) {
    items.push_back({std::move(what), done.has_value(), done ? "" : advise(done.error(), module)});
  };
  if (::unshare(CLONE_NEWNET) != 0) {
    note("network namespaces", fail_errno(errno, "make a network namespace"), "");
    return items;
  }
  auto socket = Socket::open();
  if (!socket) {
    note("network namespaces", tl::unexpected(socket.error()), "");
    return items;
  }
  note("network namespaces", {}, "");
  constexpr std::pair<const char*, LinkKind> kKinds[] = {
      {"bridge", LinkKind::kBridge}, {"vxlan", LinkKind::kVxlan}, {"veth", LinkKind::kVeth}};
  for (const auto& [module, kind] : kKinds) {
    Status made = socket->run(encode(sample(kind)));
    note(std::string(module) + " devices", made, module);
    if (made) (void)socket->run(encode(netlink::DeleteLink{"qmcheck"}));
  }
  return items;
}

}  // namespace

std::vector<PrecheckItem> precheck_overlay() {
  std::vector<PrecheckItem> items;
  std::thread([&] { items = check_here(); }).join();
  return items;
}

}  // namespace qmasq::vbond
