// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/rdma_netlink.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <rdma/rdma_netlink.h>
#include <sys/time.h>

#include <array>
#include <memory>
#include <optional>

namespace qmasq::vbond {
namespace {

int take_attribute(const nlattr* attribute, void* out) {
  if (mnl_attr_get_type(attribute) != RDMA_NLDEV_ATTR_UVERBS_DRIVER_ID) return MNL_CB_OK;
  // Declared as u64 in the header, sent as u32.
  auto length = mnl_attr_get_payload_len(attribute);
  auto& id = *static_cast<std::optional<std::uint32_t>*>(out);
  if (length == sizeof(std::uint32_t)) id = mnl_attr_get_u32(attribute);
  if (length == sizeof(std::uint64_t)) {
    id = static_cast<std::uint32_t>(mnl_attr_get_u64(attribute));
  }
  return MNL_CB_OK;
}

int take_message(const nlmsghdr* message, void* out) {
  return mnl_attr_parse(message, 0, take_attribute, out);
}

}  // namespace

Result<std::uint32_t> rdma_driver_id(int device_index) {
  std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(
      mnl_socket_open2(NETLINK_RDMA, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket) return fail_errno(errno, "open an RDMA netlink socket");
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno(errno, "bind an RDMA netlink socket");
  }
  timeval timeout{1, 0};
  (void)::setsockopt(mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &timeout,
                     sizeof timeout);

  alignas(nlmsghdr) std::array<char, 8192> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET_CHARDEV);
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request->nlmsg_seq = 1;
  mnl_attr_put_u32(request, RDMA_NLDEV_ATTR_DEV_INDEX, static_cast<std::uint32_t>(device_index));
  mnl_attr_put_strz(request, RDMA_NLDEV_ATTR_CHARDEV_TYPE, "uverbs");
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) {
    return fail_errno(errno, "ask RDMA netlink for the driver");
  }

  std::optional<std::uint32_t> id;
  auto port = mnl_socket_get_portid(socket.get());
  for (;;) {
    auto size = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (size < 0) return fail_errno(errno, "read the answer of RDMA netlink");
    int more =
        mnl_cb_run(buffer.data(), static_cast<std::size_t>(size), 1, port, take_message, &id);
    if (more < 0) return fail_errno(errno, "RDMA netlink");
    if (more == MNL_CB_STOP || id) break;
  }
  if (!id) return fail(Code::kUnsupported, "the kernel does not say which driver it is");
  return *id;
}

}  // namespace qmasq::vbond
