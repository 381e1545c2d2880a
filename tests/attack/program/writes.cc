// SPDX-License-Identifier: Apache-2.0
// The legacy interface: write(MODIFY_QP) on the descriptor that the program was given, on copies of
// it, and by every call that ends up in the same function of the kernel. Each answers with the
// errno or, where the kernel has taken the command, "done".
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/passing.h"
#include "tests/attack/program/ring.h"

namespace qmasq::attack {
namespace {

std::string answer(long result) {
  return result < 0 ? errno_name(errno) : "done";
}

// A copy that came over a socket, to another process.
std::string over_socket(int fd, const std::function<long(int)>& attempt) {
  std::array<int, 2> ends{};
  std::array<int, 2> result{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0 || ::pipe(result.data()) != 0)
    return errno_name(errno);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(fd);
    const int received = receive_descriptor(ends[1]);
    const std::string text = received < 0 ? errno_name(errno) : answer(attempt(received));
    (void)!::write(result[1], text.data(), text.size());
    ::_exit(0);
  }
  (void)send_descriptor(ends[0], fd);
  std::array<char, 64> text{};
  const ssize_t length = ::read(result[0], text.data(), text.size());
  (void)::waitpid(child, nullptr, 0);
  for (int each : {ends[0], ends[1], result[0], result[1]})
    ::close(each);
  return {text.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
}

}  // namespace

int writes(const std::string& device, const Target& target, int hold_seconds) {
  Rig rig(device);
  nlohmann::ordered_json out;
  out["device"] = rig.error().empty() ? "0" : rig.error();
  if (!rig.error().empty()) {
    std::printf("{\"device\":\"%s\"}\n", rig.error().c_str());
    return 1;
  }
  const int fd = rig.fd();
  const int copy = ::fcntl(fd, F_DUPFD, 40);  // below what the agent reserves
  using Request = Legacy<ib_uverbs_modify_qp>;
  auto command = [&] {
    return Request(IB_USER_VERBS_CMD_MODIFY_QP, rtr_command(rig.qp()->handle, target));
  };
  // A fresh queue pair for each, so that what one has done does not make the next one fail.
  auto attempt = [&](const char* name, const std::function<std::string(const Request&)>& act) {
    if (int err = rig.new_qp(); err != 0) {
      out[name] = "QP: " + errno_name(err);
      return;
    }
    out[name] = act(command());
  };
  attempt("write", [&](const Request& r) { return answer(::write(fd, &r, sizeof r)); });
  attempt("write on a dup", [&](const Request& r) { return answer(::write(copy, &r, sizeof r)); });
  attempt("write with high bits in the descriptor", [&](const Request& r) {
    return answer(
        ::syscall(SYS_write, static_cast<std::uint64_t>(fd) | 0x700000000ULL, &r, sizeof r));
  });
  attempt("write over a socket", [&](const Request& r) {
    return over_socket(fd, [&](int at) { return ::write(at, &r, sizeof r); });
  });
  attempt("writev", [&](const Request& r) {
    iovec piece{const_cast<Request*>(&r), sizeof r};
    return answer(::writev(fd, &piece, 1));
  });
  attempt("pwrite", [&](const Request& r) { return answer(::pwrite(fd, &r, sizeof r, 0)); });
  attempt("pwritev2", [&](const Request& r) {
    iovec piece{const_cast<Request*>(&r), sizeof r};
    return answer(::pwritev2(fd, &piece, 1, -1, 0));
  });
  attempt("io_uring", [&](const Request& r) { return answer(write_by_ring(fd, &r, sizeof r)); });
  attempt("splice", [&](const Request& r) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0 || ::write(ends[1], &r, sizeof r) < 0) return errno_name(errno);
    std::string text = answer(::splice(ends[0], nullptr, fd, nullptr, sizeof r, SPLICE_F_MOVE));
    ::close(ends[0]);
    ::close(ends[1]);
    return text;
  });
  attempt("in a child", [&](const Request& r) {
    std::array<int, 2> result{};
    if (::pipe(result.data()) != 0) return errno_name(errno);
    const pid_t child = ::fork();
    if (child == 0) {
      const std::string text = answer(::write(copy, &r, sizeof r));
      (void)!::write(result[1], text.data(), text.size());
      ::_exit(0);
    }
    std::array<char, 64> text{};
    const ssize_t length = ::read(result[0], text.data(), text.size());
    (void)::waitpid(child, nullptr, 0);
    ::close(result[0]);
    ::close(result[1]);
    return std::string(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  });
  // Last: the one that is looked at from outside while it stays.
  attempt("write and stay", [&](const Request& r) { return answer(::write(copy, &r, sizeof r)); });
  std::printf("%s\n", out.dump().c_str());
  std::fflush(stdout);
  ::sleep(static_cast<unsigned>(hold_seconds));
  ::close(copy);
  return 0;
}

}  // namespace qmasq::attack
