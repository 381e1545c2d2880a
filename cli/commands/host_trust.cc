// SPDX-License-Identifier: Apache-2.0
#include "cli/commands/host_trust.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/options.h"
#include "cli/resources.h"
#include "common/resource_name.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "trust/secret_file.h"

namespace qmasq::cli {
namespace {

using Stub = v1::AuthService::Stub;

struct Arguments {
  std::string name;
  std::string out;
  std::chrono::seconds ttl{0};
};

Outcome<int> token(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::CreateJoinTokenRequest request;
  request.set_host(host_name(*id));
  if (args.ttl.count() > 0) request.mutable_ttl()->set_seconds(args.ttl.count());
  QMASQ_ASSIGN(v1::JoinToken made, server.call(stub, &Stub::CreateJoinToken, request));
  if (!args.out.empty()) {
    auto written = trust::write_file_atomically(args.out, made.token() + "\n", 0600);
    if (!written) return failed(written.error());
  } else if (shell.options.format == Format::kTable) {
    // Nothing else on this stream: it is given on to qmasq-vbond join.
    shell.console.out << made.token() << '\n';
  } else {
    print_document(shell.console.out, to_document(made), shell.options.format);
    return kExitOk;
  }
  shell.console.err << fmt::format(
      "lets one agent join as {}, once, until {}; on that host:\n"
      "  qmasq-vbond join --controller ADDRESS:PORT --token-file {}\n",
      made.host(), time_text(made.expire_time()), args.out.empty() ? "-" : args.out);
  return kExitOk;
}

Outcome<int> revoke(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::RevokeHostRequest request;
  request.set_name(host_name(*id));
  QMASQ_TRY(server.call(stub, &Stub::RevokeHost, request));
  if (shell.options.format == Format::kTable) {
    shell.console.out << fmt::format("revoked {}: a new token lets it join again\n",
                                     request.name());
  } else {
    print_document(shell.console.out, {{"name", request.name()}}, shell.options.format);
  }
  return kExitOk;
}

}  // namespace

void add_host_trust_commands(CLI::App& group, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& token_command =
      add_resource_command(group, shell, "token", "Make a secret with which one agent joins, once",
                           args, token, "hostA or hosts/hostA", "HOST");
  add_lifetime(token_command, "--ttl", args->ttl, "How long it is good, at most 7d [1h]");
  token_command
      .add_option("--out", args->out, "Write it to this file, closed to others [standard output]")
      ->type_name("FILE");
  token_command.footer(R"(
The host need not exist yet. Whoever has the token can be that host: hand it over on a way that
nobody else reads, and not on a command line.

Examples:
  qmasq host token hostB --out hostB.token
  qmasq host token hostB --ttl 10m | ssh hostB qmasq-vbond join --controller 192.0.2.1:7443 --token-file -)");

  CLI::App& revoke_command =
      add_resource_command(group, shell, "revoke", "Make all certificates of a host void", args,
                           revoke, "hostA or hosts/hostA", "HOST");
  revoke_command.footer(R"(
Its agent is cut off at once; programs on it go on with what the agent holds. A new token lets it
join again.

Example:
  qmasq host revoke hostB)");
}

}  // namespace qmasq::cli
