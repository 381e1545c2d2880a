// SPDX-License-Identifier: Apache-2.0
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/lab/probe/probe.h"

// Broken and hostile ioctl arguments on a real verbs descriptor. Prints the errno of each by name;
// the lab test runs it natively and under qmasq and compares.
namespace qmasq::probe {
namespace {

std::string result_of(int fd, unsigned long command, const void* argument) {
  errno = 0;
  int result = ::ioctl(fd, command, argument);
  return errno_name(result < 0 ? errno : 0);
}

// A header and `count` attributes in one buffer, with room behind it.
struct Request {
  alignas(8) std::array<std::byte, 8192> bytes{};
  ib_uverbs_ioctl_hdr* header() { return reinterpret_cast<ib_uverbs_ioctl_hdr*>(bytes.data()); }
  ib_uverbs_attr* attribute(std::size_t i) { return &header()->attrs[i]; }
};

Request query_port_request(std::uint16_t attributes) {
  Request request;
  auto* header = request.header();
  header->length = static_cast<std::uint16_t>(sizeof *header + attributes * sizeof(ib_uverbs_attr));
  header->object_id = 0;  // UVERBS_OBJECT_DEVICE
  header->method_id = 2;  // UVERBS_METHOD_QUERY_PORT
  header->num_attrs = attributes;
  return request;
}

}  // namespace

int hostile(const std::string& device) {
  Context context = open_device(device);
  nlohmann::ordered_json out;
  out["open"] = errno_name(context ? 0 : errno);
  if (!context) {
    std::printf("%s\n", out.dump().c_str());
    return 1;
  }
  int fd = context->cmd_fd;
  const unsigned long command = RDMA_VERBS_IOCTL;
  out["null argument"] = result_of(fd, command, nullptr);
  out["pointer to nowhere"] = result_of(fd, command, reinterpret_cast<void*>(0x10));
  out["kernel pointer"] = result_of(fd, command, reinterpret_cast<void*>(0xffff888000000000UL));

  Request request = query_port_request(0);
  request.header()->length = 0;
  out["length 0"] = result_of(fd, command, request.bytes.data());
  request.header()->length = 23;
  out["length below the header"] = result_of(fd, command, request.bytes.data());
  request.header()->length = 0xffff;
  out["length over a page"] = result_of(fd, command, request.bytes.data());
  request.header()->length = 40;
  out["length and count disagree"] = result_of(fd, command, request.bytes.data());

  request = query_port_request(0);
  out["mandatory attributes missing"] = result_of(fd, command, request.bytes.data());
  request.header()->reserved1 = 1;
  out["reserved set"] = result_of(fd, command, request.bytes.data());
  request = query_port_request(0);
  request.header()->object_id = 0x0fff;
  out["unknown object"] = result_of(fd, command, request.bytes.data());
  request = query_port_request(0);
  request.header()->method_id = 0x0fff;
  out["unknown method"] = result_of(fd, command, request.bytes.data());

  request = query_port_request(2);
  *request.attribute(0) = {0, 1, UVERBS_ATTR_F_MANDATORY, {}, {1}};
  *request.attribute(1) = {1, 64, UVERBS_ATTR_F_MANDATORY, {}, {0x10}};
  out["result pointer to nowhere"] = result_of(fd, command, request.bytes.data());
  request.attribute(1)->len = 0xffff;
  out["result length huge"] = result_of(fd, command, request.bytes.data());
  request.attribute(1)->len = 0;
  out["result length 0"] = result_of(fd, command, request.bytes.data());
  request.attribute(1)->attr_id = 0;
  out["attribute twice"] = result_of(fd, command, request.bytes.data());
  request.attribute(1)->attr_id = 0x0fff;
  out["unknown mandatory attribute"] = result_of(fd, command, request.bytes.data());

  // A request that runs off the end of mapped memory.
  const long page = ::sysconf(_SC_PAGESIZE);
  void* two = ::mmap(nullptr, static_cast<std::size_t>(2 * page), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (two != MAP_FAILED) {
    ::munmap(static_cast<char*>(two) + page, static_cast<std::size_t>(page));
    char* edge = static_cast<char*>(two) + page - 24;
    Request cut = query_port_request(2);
    std::memcpy(edge, cut.bytes.data(), 24);
    out["attributes beyond mapped memory"] = result_of(fd, command, edge);
    ::munmap(two, static_cast<std::size_t>(page));
  }

  // The high half of the command is not looked at by the kernel.
  request = query_port_request(0);
  out["high bits in the command"] = result_of(fd, command | 0xdead00000000UL, request.bytes.data());

  // The legacy interface. libibverbs never uses it on kernels that have ioctl.
  std::array<std::uint32_t, 16> legacy{};
  legacy[0] = 26;  // MODIFY_QP
  legacy[1] = 16U << 16U | 16U;
  out["write(MODIFY_QP)"] = errno_name(::write(fd, legacy.data(), 64) < 0 ? errno : 0);
  int copy = ::dup(fd);
  out["write(MODIFY_QP) on a dup"] = errno_name(::write(copy, legacy.data(), 64) < 0 ? errno : 0);
  ::close(copy);

  // Still whole after all that.
  ibv_port_attr port{};
  out["still alive"] = errno_name(ibv_query_port(context.get(), 1, &port));
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::probe
