// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "vbond/join/join.h"

namespace qmasq::vbond {

// What limits an RDMA device.
enum class QosBackend { kAuto, kTc, kDevlink, kNone };

// What the agent was told on its command line, checked as far as that goes without the machine.
struct AgentOptions {
  std::string host;                                 // "hosts/hostA"
  std::string controller;                           // "ADDR:PORT" or "unix:PATH"
  std::string certificates = kDefaultCertificates;  // directory
  std::string token_file;                           // to join with; empty: none
  // One of these two.
  std::string underlay_device;
  std::optional<IpAddress> underlay_address;
  std::vector<std::string> nics;  // empty: all
  // VPCs have physical GIDs of their own: nic/vpc_gid.h. None: all send from the underlay address.
  std::optional<IpPrefix> vpc_gids;
  // RDMA devices that tenants open themselves.
  std::set<std::string, std::less<>> tenant_opens;
  // By RDMA device; kAuto where there is nothing.
  std::map<std::string, QosBackend> qos_backends;
  // "vpcs/blue/endpoints/a" to the index of its port on the NIC's switch, for devlink.
  std::map<std::string, std::uint32_t> endpoint_ports;
  bool builtin_overlay = true;
  // The guard against programs that change a verb while the kernel reads it.
  bool guard = true;
  // Arguments of what runs in a tenant are sealed, where the machine can.
  bool seal = true;
  // Most connections of one VPC on this host.
  std::size_t connections_per_vpc = std::size_t{1} << 20U;
  std::string socket_directory = "/run/qmasq";
  // Socket of the keeper; empty: what tenants have open ends with the agent.
  std::string keeper;
  std::string state_directory = "/var/lib/qmasq-vbond";  // of the journal
  std::string metrics_address;                           // empty: not served
  std::string log_level = "info";
};

// Outcome of reading the command line: options, or a text to print and the exit code.
struct CommandLine {
  std::optional<AgentOptions> options;
  std::string text;  // of --help, --version or an error
  int exit_code = 0;
};
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace qmasq::vbond
