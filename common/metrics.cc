// SPDX-License-Identifier: Apache-2.0
#include "common/metrics.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <sys/socket.h>

#include <charconv>
#include <exception>

#include "common/net_types.h"
#include "common/unique_fd.h"
#include "common/version.h"

namespace qmasq {
namespace {

struct Listen {
  IpAddress ip;
  std::uint16_t port = 0;
};

std::string to_text(const IpAddress& ip, int port) {
  return ip.is_v4() ? fmt::format("{}:{}", to_string(ip), port)
                    : fmt::format("[{}]:{}", to_string(ip), port);
}

Result<Listen> parse_listen(std::string_view text) {
  auto wrong = [&] {
    return fail(
        Code::kInvalidArgument,
        fmt::format("'{}' is not an address to serve metrics on: write it as 127.0.0.1:9470 or "
                    "[::1]:9470",
                    text));
  };
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = text.substr(0, colon);
  std::string_view digits = text.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = parse_ip(host);
  if (!ip || ip->is_v4() == bracketed) return wrong();
  Listen out{*ip, 0};
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return wrong();
  return out;
}

// The errno of binding there, or 0. The HTTP library only says that something went wrong.
int bind_error(const Listen& listen) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  int family = AF_INET6;
  if (listen.ip.is_v4()) {
    family = AF_INET;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(listen.port);
    v4->sin_addr.s_addr = htonl(listen.ip.v4());
    size = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(listen.port);
    std::memcpy(&v6->sin6_addr, listen.ip.bytes.data(), 16);
    size = sizeof *v6;
  }
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  int one = 1;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return errno;
  return ::listen(fd.get(), 1) != 0 ? errno : 0;
}

}  // namespace

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}
Metrics::~Metrics() = default;

Result<std::unique_ptr<Metrics>> Metrics::create(std::string_view program,
                                                 std::string_view address) {
  std::unique_ptr<Metrics> out(new Metrics());
  prometheus::BuildGauge()
      .Name("qmasq_build_info")
      .Help("Always 1; the labels say what runs")
      .Register(*out->registry_)
      .Add({{"program", std::string(program)}, {"version", std::string(version())}})
      .Set(1);
  if (address.empty()) return out;

  QMASQ_ASSIGN(Listen listen, parse_listen(address));
  // Asked first: the library's own attempt may succeed on a port that another program shares.
  if (int err = bind_error(listen); err != 0) {
    auto text = to_text(listen.ip, listen.port);
    if (err == EADDRINUSE) {
      Error taken{Code::kAlreadyExists,
                  fmt::format("cannot serve metrics on {}: another program listens there; choose "
                              "another port, or stop it (`ss -ltnp` shows which it is)",
                              text),
                  err,
                  {}};
      return tl::unexpected(std::move(taken));
    }
    return fail_errno(err, fmt::format("cannot serve metrics on {}", text));
  }
  try {
    out->exposer_ =
        std::make_unique<prometheus::Exposer>(to_text(listen.ip, listen.port), /*num_threads=*/2);
    out->exposer_->RegisterCollectable(out->registry_);
    auto ports = out->exposer_->GetListeningPorts();
    out->address_ = to_text(listen.ip, ports.empty() ? listen.port : ports.front());
  } catch (const std::exception& error) {
    return fail(Code::kUnavailable, fmt::format("cannot serve metrics on {}: {}",
                                                to_text(listen.ip, listen.port), error.what()));
  }
  return out;
}

}  // namespace qmasq
