// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <sstream>

#include <CLI/CLI.hpp>

#include "common/resource_name.h"
#include "common/version.h"
#include "vbond/nic/vpc_gid.h"
#include "vbond/sync/sync_client.h"

namespace qmasq::vbond {
namespace {

constexpr int kUsageError = 2;

std::string own_host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

struct Raw {
  std::string host_name;
  std::string controller;
  std::string certificates = kDefaultCertificates;
  std::string token_file;
  std::string underlay_device;
  std::string underlay_address;
  std::vector<std::string> nics;
  std::string vpc_gids = "off";
  std::vector<std::string> open;
  std::vector<std::string> qos_backends;
  std::vector<std::string> endpoint_ports;
  std::size_t connections_per_vpc = AgentOptions{}.connections_per_vpc;
  std::string overlay = "builtin";
  std::string socket_dir = "/run/qmasq";
  std::string keeper = "off";
  std::string state_dir = AgentOptions{}.state_directory;
  std::string metrics;
  std::string guard = "on";
  std::string seal = "on";
  std::string log_level = "info";
};

void declare(CLI::App& app, Raw& raw) {
  app.add_option("--host-name", raw.host_name,
                 "Name of this host at the controller (default: the machine's host name)")
      ->type_name("NAME");
  app.add_option("--controller", raw.controller, "Where the controller is: ADDR:PORT or unix:PATH")
      ->type_name("ADDRESS");
  app.add_option("--certificates", raw.certificates,
                 "Directory of this host's key and certificate, which it joins with and renews; "
                 "every controller but one on this machine asks for it")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--join-token-file", raw.token_file,
                 "Join with the token in this file while there is no certificate; it is removed "
                 "once used (`qmasq-vbond join` does the same at once)")
      ->type_name("FILE");
  app.add_option("--underlay-device", raw.underlay_device,
                 "Interface whose first address VXLAN and RDMA packets of this host carry")
      ->type_name("DEV");
  app.add_option("--underlay-address", raw.underlay_address,
                 "That address itself, instead of --underlay-device")
      ->type_name("IP");
  app.add_option("--nic", raw.nics,
                 "RDMA device that may be used; repeat it for more (default: all)")
      ->type_name("DEVICE")
      ->allow_extra_args(false);
  app.add_option(
         "--vpc-gids", raw.vpc_gids,
         "IPv6 range from which each VPC has an address of its own on each NIC, so that queue "
         "pairs of different VPCs cannot reach each other by number: a /64 for all hosts of one "
         "Ethernet (the host's IPv4 address follows), or this host's own /96, which the others "
         "have a route to; off: all send from the underlay address")
      ->type_name("PREFIX|off")
      ->take_last()
      ->capture_default_str();
  app.add_option("--open", raw.open,
                 "Who opens an RDMA device for a tenant's program, agent (default) or tenant; "
                 "tenant is for Soft-RoCE only and gives up a part of the isolation")
      ->type_name("DEVICE=WHO")
      ->allow_extra_args(false);
  app.add_option(
         "--qos-backend", raw.qos_backends,
         "What limits an RDMA device: auto (default; tc for Soft-RoCE, nothing for others), "
         "tc, devlink or none; repeat it for more")
      ->type_name("DEVICE=KIND")
      ->allow_extra_args(false);
  app.add_option(
         "--endpoint-port", raw.endpoint_ports,
         "For devlink: the port of the NIC's switch that an endpoint's VF or SF has, by its "
         "index (`devlink port`); repeat it for more")
      ->type_name("VPC/ENDPOINT=INDEX")
      ->allow_extra_args(false);
  app.add_option("--overlay", raw.overlay,
                 "builtin: VXLAN made by the agent; none: the site connects the endpoints")
      ->type_name("builtin|none")
      ->capture_default_str();
  app.add_option("--max-connections-per-vpc", raw.connections_per_vpc,
                 "Most connections that the queue pairs of one VPC have on this host")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  app.add_option("--socket-dir", raw.socket_dir, "Directory of vbond.sock and attach.sock")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--keeper", raw.keeper,
                 "Socket of qmasq-keeper, which holds what tenants have open while the agent is "
                 "started again; off: they lose it")
      ->type_name("PATH|off")
      ->take_last()
      ->capture_default_str();
  app.add_option("--state-dir", raw.state_dir,
                 "Directory of the journal of connections; used with --keeper")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--metrics", raw.metrics, "Serve Prometheus metrics there (default: not at all)")
      ->type_name("ADDR:PORT");
  app.add_option(
         "--guard", raw.guard,
         "Programs that change a verb while the kernel reads it: on: they are ended; off: they "
         "get away with it")
      ->type_name("on|off")
      ->capture_default_str();
  app.add_option("--seal", raw.seal,
                 "Verbs that run in a program: on: the kernel reads their arguments where the "
                 "program cannot change them; off: from the program's memory")
      ->type_name("on|off")
      ->capture_default_str();
  app.add_option("--log-level", raw.log_level, "trace, debug, info, warn or error")
      ->type_name("LEVEL")
      ->capture_default_str();
  app.set_version_flag("--version", std::string(version()));
}

Status check_qos(const Raw& raw, AgentOptions& out) {
  auto wrong = [](std::string text) { return fail(Code::kInvalidArgument, std::move(text)); };
  const std::map<std::string, QosBackend, std::less<>> kinds = {{"auto", QosBackend::kAuto},
                                                                {"tc", QosBackend::kTc},
                                                                {"devlink", QosBackend::kDevlink},
                                                                {"none", QosBackend::kNone}};
  for (const std::string& text : raw.qos_backends) {
    const auto equals = text.find('=');
    auto kind = equals == std::string::npos ? kinds.end() : kinds.find(text.substr(equals + 1));
    if (equals == 0 || kind == kinds.end()) {
      return wrong(fmt::format(
          "--qos-backend: '{}' is not DEVICE=auto, DEVICE=tc, DEVICE=devlink or DEVICE=none",
          text));
    }
    out.qos_backends[text.substr(0, equals)] = kind->second;
  }
  std::map<std::uint32_t, std::string> taken;
  for (const std::string& text : raw.endpoint_ports) {
    const auto equals = text.find('=');
    auto name = parse_endpoint_reference(text.substr(0, equals));
    const std::string number = equals == std::string::npos ? "" : text.substr(equals + 1);
    std::uint32_t port = 0;
    const auto read = std::from_chars(number.data(), number.data() + number.size(), port);
    if (!name || name->vpc.empty() || number.empty() || read.ec != std::errc() ||
        read.ptr != number.data() + number.size()) {
      return wrong(
          fmt::format("--endpoint-port: '{}' is not VPC/ENDPOINT=INDEX, as in blue/a=3", text));
    }
    const std::string endpoint = endpoint_name(*name);
    if (auto [other, fresh] = taken.try_emplace(port, endpoint); !fresh) {
      return wrong(fmt::format("--endpoint-port: {} and {} have port {} both", other->second,
                               endpoint, port));
    }
    if (!out.endpoint_ports.try_emplace(endpoint, port).second) {
      return wrong(fmt::format("--endpoint-port: {} is there twice", endpoint));
    }
  }
  return {};
}

Result<AgentOptions> check(const Raw& raw) {
  auto wrong = [](std::string text) { return fail(Code::kInvalidArgument, std::move(text)); };
  AgentOptions out;
  std::string host = raw.host_name.empty() ? own_host_name() : raw.host_name;
  if (auto status = check_host_id(host); !status) {
    return wrong(
        fmt::format("{}; give this host another name with --host-name", status.error().message));
  }
  out.host = host_name(host);
  if (raw.controller.empty()) {
    return wrong(
        "--controller is missing: say where qmasq-controller listens, as in "
        "--controller 192.0.2.1:7443");
  }
  if (auto status = check_controller_address(raw.controller); !status) {
    return wrong("--controller: " + status.error().message);
  }
  out.controller = raw.controller;
  if (raw.certificates.empty() || raw.certificates.front() != '/') {
    return wrong(fmt::format("--certificates: '{}' does not start with /", raw.certificates));
  }
  out.certificates = raw.certificates;
  out.token_file = raw.token_file;
  if (raw.underlay_device.empty() == raw.underlay_address.empty()) {
    return wrong(
        "give one of --underlay-device and --underlay-address: the interface or address "
        "over which this host's NIC reaches the other hosts");
  }
  out.underlay_device = raw.underlay_device;
  if (!raw.underlay_address.empty()) {
    auto address = parse_ip(raw.underlay_address);
    if (!address) return wrong("--underlay-address: " + address.error().message);
    if (address->is_unspecified() || address->is_multicast()) {
      return wrong(
          fmt::format("--underlay-address: {} is not an address of a host", raw.underlay_address));
    }
    out.underlay_address = *address;
  }
  out.nics = raw.nics;
  if (raw.vpc_gids != "off") {
    auto prefix = parse_prefix(raw.vpc_gids);
    if (!prefix) return wrong("--vpc-gids: " + prefix.error().message);
    if (auto status = check_vpc_prefix(*prefix); !status)
      return wrong("--vpc-gids: " + status.error().message);
    out.vpc_gids = *prefix;
  }
  for (const std::string& text : raw.open) {
    auto equals = text.find('=');
    std::string device = text.substr(0, equals);
    std::string who = equals == std::string::npos ? "" : text.substr(equals + 1);
    if (device.empty() || (who != "agent" && who != "tenant")) {
      return wrong(fmt::format("--open: '{}' is not DEVICE=agent or DEVICE=tenant", text));
    }
    if (who == "tenant") out.tenant_opens.insert(device);
    if (who == "agent") out.tenant_opens.erase(device);
  }
  QMASQ_TRY(check_qos(raw, out));
  if (raw.overlay != "builtin" && raw.overlay != "none") {
    return wrong(fmt::format("--overlay: '{}' is not builtin or none", raw.overlay));
  }
  out.builtin_overlay = raw.overlay == "builtin";
  if (raw.socket_dir.empty() || raw.socket_dir.front() != '/') {
    return wrong(fmt::format("--socket-dir: '{}' does not start with /", raw.socket_dir));
  }
  if (raw.keeper != "off") {
    if (raw.keeper.empty() || raw.keeper.front() != '/') {
      return wrong(fmt::format("--keeper: '{}' is neither off nor starts with /", raw.keeper));
    }
    out.keeper = raw.keeper;
  }
  if (raw.state_dir.empty() || raw.state_dir.front() != '/') {
    return wrong(fmt::format("--state-dir: '{}' does not start with /", raw.state_dir));
  }
  out.state_directory = raw.state_dir;
  out.connections_per_vpc = raw.connections_per_vpc;
  out.socket_directory = raw.socket_dir;
  if (raw.guard != "on" && raw.guard != "off") {
    return wrong(fmt::format("--guard: '{}' is not on or off", raw.guard));
  }
  out.guard = raw.guard == "on";
  if (raw.seal != "on" && raw.seal != "off") {
    return wrong(fmt::format("--seal: '{}' is not on or off", raw.seal));
  }
  out.seal = raw.seal == "on";
  out.metrics_address = raw.metrics;
  out.log_level = raw.log_level;
  return out;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CLI::App app{"The agent of one host: gives programs of VPC endpoints their RDMA.", "qmasq-vbond"};
  Raw raw;
  declare(app, raw);
  CommandLine out;
  // CLI11 reports by exception; none leaves this function.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream text;
    out.exit_code = app.exit(error, text, text) == 0 ? 0 : kUsageError;
    out.text = text.str();
    return out;
  }
  auto options = check(raw);
  if (options) {
    out.options = std::move(*options);
  } else {
    out.exit_code = kUsageError;
    out.text = fmt::format("qmasq-vbond: {}\n", options.error().message);
  }
  return out;
}

}  // namespace qmasq::vbond
