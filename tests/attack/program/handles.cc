// SPDX-License-Identifier: Apache-2.0
// Another tenant's device and memory: by a descriptor that it hands over, and by keys that are
// known.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/passing.h"

namespace qmasq::attack {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::strncpy(out.sun_path, path.c_str(), sizeof out.sun_path - 1);
  return out;
}

}  // namespace

int send_device(const std::string& device, const std::string& path, int seconds) {
  Rig rig(device);
  if (!rig.error().empty()) {
    std::printf("{\"device\":\"%s\"}\n", rig.error().c_str());
    return 1;
  }
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  (void)::unlink(path.c_str());
  if (::bind(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(server, 4) != 0) {
    std::printf("{\"socket\":\"%s\"}\n", errno_name(errno).c_str());
    return 1;
  }
  std::printf("{\"pid\":%d,\"fd\":%d,\"qp\":%u}\n", ::getpid(), rig.fd(), rig.qp()->handle);
  std::fflush(stdout);
  ::alarm(static_cast<unsigned>(seconds));
  for (;;) {
    const int client = ::accept(server, nullptr, nullptr);
    if (client < 0) break;
    (void)send_descriptor(client, rig.fd());
    const std::uint32_t handle = rig.qp()->handle;
    (void)!::write(client, &handle, sizeof handle);
    ::close(client);
  }
  return 0;
}

int receive_device(const std::string& path, const Target& target) {
  nlohmann::ordered_json out;
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  if (::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    out["received"] = errno_name(errno);
    std::printf("%s\n", out.dump().c_str());
    return 1;
  }
  const int fd = receive_descriptor(client);
  std::uint32_t handle = 0;
  const bool whole = ::read(client, &handle, sizeof handle) == sizeof handle;
  out["received"] = fd >= 0 && whole ? "0" : errno_name(errno);
  auto word = [](int err) { return err == 0 ? std::string("done") : errno_name(err); };
  ib_uverbs_query_qp query{};
  ib_uverbs_query_qp_resp answer{};
  query.qp_handle = handle;
  query.attr_mask = IBV_QP_STATE;
  Invoke request{};
  std::array<std::byte, 64> driver{};
  request.set(IB_USER_VERBS_CMD_QUERY_QP, &query, sizeof query, &answer, sizeof answer,
              driver.data());
  out["QUERY_QP"] = word(submit(fd, &request));
  const ib_uverbs_modify_qp command = rtr_command(handle, target);
  request.set(IB_USER_VERBS_CMD_MODIFY_QP, &command, sizeof command, nullptr, 0, driver.data());
  out["MODIFY_QP"] = word(submit(fd, &request));
  Legacy<ib_uverbs_modify_qp> legacy(IB_USER_VERBS_CMD_MODIFY_QP, command);
  out["write(MODIFY_QP)"] = ::write(fd, &legacy, sizeof legacy) < 0 ? errno_name(errno) : "done";
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

int write_over(const std::string& device, const Target& connection, const Target& memory) {
  nlohmann::ordered_json out;
  Rig rig(device);
  out["device"] = rig.error().empty() ? "0" : rig.error();
  if (rig.error().empty()) {
    const int rtr = to_rtr(rig.qp(), connection);
    out["RTR"] = errno_name(rtr);
    if (rtr == 0) {
      out["RTS"] = errno_name(to_rts(rig.qp()));
      out["write"] = write_into(rig, memory, 3000) ? "done" : "failed";
    }
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::attack
