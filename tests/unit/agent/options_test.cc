// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/version.h"

namespace qmasq::vbond {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CommandLine parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv{"qmasq-vbond"};
  for (const auto& word : words)
    argv.push_back(word.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

// With all that is required, and more.
CommandLine parse_with(const std::vector<std::string>& more) {
  std::vector<std::string> words{"--host-name",       "hostA", "--controller", "192.0.2.1:7443",
                                 "--underlay-device", "eth0"};
  words.insert(words.end(), more.begin(), more.end());
  return parse(words);
}

TEST(AgentOptions, HaveSensibleDefaults) {
  auto command = parse_with({});
  ASSERT_TRUE(command.options.has_value()) << command.text;
  const AgentOptions& options = *command.options;
  EXPECT_EQ(options.host, "hosts/hostA");
  EXPECT_EQ(options.controller, "192.0.2.1:7443");
  EXPECT_EQ(options.underlay_device, "eth0");
  EXPECT_TRUE(options.nics.empty());
  EXPECT_TRUE(options.tenant_opens.empty());
  EXPECT_TRUE(options.builtin_overlay);
  EXPECT_EQ(options.socket_directory, "/run/qmasq");
  EXPECT_EQ(options.metrics_address, "");
  EXPECT_EQ(options.log_level, "info");
  EXPECT_EQ(options.certificates, "/var/lib/qmasq-vbond/tls");
  EXPECT_EQ(options.token_file, "");
}

TEST(AgentOptions, TakeCertificatesAndAToken) {
  auto command = parse_with({"--certificates=/etc/q", "--join-token-file=/run/token"});
  ASSERT_TRUE(command.options.has_value()) << command.text;
  EXPECT_EQ(command.options->certificates, "/etc/q");
  EXPECT_EQ(command.options->token_file, "/run/token");
  EXPECT_THAT(parse_with({"--certificates=tls"}).text, HasSubstr("does not start with /"));
}

TEST(AgentOptions, TakeEverything) {
  auto command = parse({"--host-name=h",
                        "--controller=unix:/run/c.sock",
                        "--underlay-address",
                        "192.0.2.7",
                        "--nic",
                        "rxe0",
                        "--nic",
                        "rxe1",
                        "--open",
                        "rxe0=tenant",
                        "--open",
                        "rxe1=agent",
                        "--qos-backend",
                        "rxe0=tc",
                        "--qos-backend",
                        "rxe1=none",
                        "--endpoint-port",
                        "blue/a=3",
                        "--overlay",
                        "none",
                        "--socket-dir",
                        "/tmp/q",
                        "--metrics",
                        "127.0.0.1:9478",
                        "--guard",
                        "off",
                        "--vpc-gids",
                        "fd00:0:0:1::/64",
                        "--log-level",
                        "debug"});
  ASSERT_TRUE(command.options.has_value()) << command.text;
  const AgentOptions& options = *command.options;
  EXPECT_EQ(options.underlay_address, *parse_ip("192.0.2.7"));
  EXPECT_THAT(options.nics, ElementsAre("rxe0", "rxe1"));
  EXPECT_EQ(options.vpc_gids, *parse_prefix("fd00:0:0:1::/64"));
  EXPECT_THAT(options.tenant_opens, ElementsAre("rxe0"));
  EXPECT_EQ(options.qos_backends, (std::map<std::string, QosBackend>{{"rxe0", QosBackend::kTc},
                                                                     {"rxe1", QosBackend::kNone}}));
  EXPECT_EQ(options.endpoint_ports,
            (std::map<std::string, std::uint32_t>{{"vpcs/blue/endpoints/a", 3}}));
  EXPECT_FALSE(options.builtin_overlay);
  EXPECT_EQ(options.socket_directory, "/tmp/q");
  EXPECT_EQ(options.metrics_address, "127.0.0.1:9478");
  EXPECT_EQ(options.log_level, "debug");
}

TEST(AgentOptions, PrintHelpAndVersion) {
  auto help = parse({"--help"});
  EXPECT_FALSE(help.options.has_value());
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.text, HasSubstr("--underlay-device"));
  auto shown = parse({"--version"});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_THAT(shown.text, HasSubstr(std::string(version())));
}

TEST(AgentOptions, SayWhatIsWrong) {
  struct Case {
    std::vector<std::string> words;
    const char* says;
  };
  const std::vector<std::string> underlay{"--underlay-device", "eth0"};
  std::vector<Case> cases = {
      {{"--host-name", "h", "--underlay-device", "eth0"}, "--controller is missing"},
      {{"--host-name", "h", "--controller", "x", "--underlay-device", "eth0"}, "'x'"},
      {{"--host-name", "h", "--controller", "a:1"}, "--underlay-device and --underlay-address"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0",
        "--underlay-address", "192.0.2.1"},
       "one of"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-address", "192.0.2"}, "192.0.2"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-address", "0.0.0.0"}, "0.0.0.0"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0", "--qos-backend",
        "rxe0"},
       "--qos-backend: 'rxe0'"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0", "--qos-backend",
        "=tc"},
       "--qos-backend: '=tc'"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0", "--endpoint-port",
        "a=3"},
       "--endpoint-port: 'a=3'"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0", "--endpoint-port",
        "blue/a=3x"},
       "blue/a=3x"},
      {{"--host-name", "h", "--controller", "a:1", "--underlay-device", "eth0", "--endpoint-port",
        "blue/a=3", "--endpoint-port", "blue/b=3"},
       "have port 3 both"},
      {{"--host-name", "-h", "--controller", "a:1", "--underlay-device", "eth0"}, "--host-name"},
  };
  for (const auto& one : cases) {
    auto command = parse(one.words);
    EXPECT_FALSE(command.options.has_value()) << one.says;
    EXPECT_EQ(command.exit_code, 2);
    EXPECT_THAT(command.text, HasSubstr(one.says));
  }
  for (auto [words, says] : std::vector<std::pair<std::vector<std::string>, const char*>>{
           {{"--open", "rxe0"}, "rxe0"},
           {{"--open", "=tenant"}, "=tenant"},
           {{"--open", "rxe0=me"}, "rxe0=me"},
           {{"--overlay", "vlan"}, "vlan"},
           {{"--socket-dir", "run"}, "run"},
           {{"--guard", "maybe"}, "maybe"},
           {{"--seal", "maybe"}, "maybe"},
           {{"--vpc-gids", "fd00::1/64"}, "--vpc-gids"},
           {{"--vpc-gids", "10.0.0.0/24"}, "IPv6 range"},
           {{"--nonsense"}, "--nonsense"},
           {{"stray"}, "stray"},
           {{"--nic", "rxe0", "stray"}, "stray"}}) {
    auto command = parse_with(words);
    EXPECT_FALSE(command.options.has_value()) << says;
    EXPECT_EQ(command.exit_code, 2) << says;
    EXPECT_THAT(command.text, HasSubstr(says));
  }
}

}  // namespace
}  // namespace qmasq::vbond
