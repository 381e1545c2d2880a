// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/options.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "cli/users.h"
#include "common/resource_name.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "trust/certificate_request.h"
#include "trust/stored_identity.h"

namespace qmasq::cli {
namespace {

using Stub = v1::AuthService::Stub;

struct Arguments {
  std::string name;
  std::string role;
  std::vector<std::string> vpcs;
  std::optional<std::string> user;
  std::optional<std::string> group;
  std::string out;
  std::chrono::seconds ttl{0};
  bool validate_only = false;
  std::string request_id;
};

constexpr std::pair<const char*, v1::Role> kRoles[] = {
    {"admin", v1::ADMIN}, {"viewer", v1::VIEWER}, {"vpc-admin", v1::VPC_ADMIN}};

std::string who_text(const v1::Access& access) {
  switch (access.unix_case()) {
    case v1::Access::kUserId:
      return "user " + user_text(access.user_id());
    case v1::Access::kGroupId:
      return "group " + group_text(access.group_id());
    default:
      return "certificate";
  }
}

std::string vpcs_text(const v1::Access& access, const char* separator) {
  std::vector<std::string> out;
  for (const std::string& vpc : access.vpcs())
    out.push_back(short_name(vpc));
  return join(out, separator);
}

std::string state_text(const v1::Access& access) {
  return access.has_revoke_time() ? "revoked" : "valid";
}

void print_table(const Shell& shell, const std::vector<v1::Access>& accesses) {
  Table table({"NAME", "ROLE", "VPCS", "WHO", "STATE", "EXPIRES"});
  for (const v1::Access& access : accesses) {
    table.add({short_name(access.name()), role_text(access.role()), vpcs_text(access, ","),
               who_text(access), state_text(access), time_text(access.expire_time())});
  }
  table.print(shell.console.out, shell.console.colour);
}

void print_one(const Shell& shell, const v1::Access& access) {
  print_fields(shell.console.out, shell.console.colour,
               {{"Name", access.name()},
                {"Role", role_text(access.role())},
                {"VPCs", vpcs_text(access, "\n")},
                {"Who", who_text(access)},
                {"State", state_text(access)},
                {"Created", time_text(access.create_time())},
                {"Expires", time_text(access.expire_time())},
                {"Revoked", time_text(access.revoke_time())}});
}

Outcome<v1::Access> asked_for(const Arguments& args) {
  v1::Access out;
  for (auto [name, role] : kRoles) {
    if (args.role == name) out.set_role(role);
  }
  for (const std::string& typed : args.vpcs) {
    auto vpc = parse_vpc_reference(typed);
    if (!vpc) return failed(vpc.error(), kExitUsage);
    out.add_vpcs(vpc_name(*vpc));
  }
  if (out.role() == v1::VPC_ADMIN && args.vpcs.empty()) {
    return failed(kExitUsage, "a vpc-admin needs its VPCs", "Name each with --vpc VPC.");
  }
  if (out.role() != v1::VPC_ADMIN && !args.vpcs.empty()) {
    return failed(kExitUsage, "--vpc is for the role vpc-admin alone");
  }
  if (args.user) {
    auto id = parse_user_id(*args.user);
    if (!id) return failed(kExitUsage, "--user: " + id.error().message);
    out.set_user_id(*id);
  }
  if (args.group) {
    auto id = parse_group_id(*args.group);
    if (!id) return failed(kExitUsage, "--group: " + id.error().message);
    out.set_group_id(*id);
  }
  const bool by_certificate = !args.user && !args.group;
  if (by_certificate == args.out.empty()) {
    return failed(
        kExitUsage,
        by_certificate
            ? "give --out DIR for a certificate, or --user or --group for somebody on the "
              "controller's machine"
            : "--out is for certificates: a user or group of the machine needs none");
  }
  return out;
}

// A key of its own in `directory`, which must hold none yet: an old one would be lost.
Outcome<trust::PrivateKey> new_key(const std::string& directory) {
  if (auto there = trust::read_identity(directory);
      there || there.error().code != Code::kNotFound) {
    return failed(kExitFailed, fmt::format("{} holds a key and certificate already", directory),
                  "Choose another --out, or move it away.");
  }
  auto key = trust::PrivateKey::generate();
  if (!key) return failed(key.error());
  return *std::move(key);
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  auto id = parse_access_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  v1::CreateAccessRequest request;
  QMASQ_ASSIGN(*request.mutable_access(), asked_for(args));
  request.set_access_id(*id);
  request.set_validate_only(args.validate_only);
  request.set_request_id(args.request_id);
  if (args.ttl.count() > 0) request.mutable_ttl()->set_seconds(args.ttl.count());
  std::optional<trust::PrivateKey> key;
  if (!args.out.empty()) {
    QMASQ_ASSIGN(key, new_key(args.out));
    auto text = trust::make_certificate_request(*key);
    if (!text) return failed(text.error());
    request.set_certificate_request(*text);
  }
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(v1::CreateAccessResponse made, server.call(stub, &Stub::CreateAccess, request));
  if (key && !args.validate_only) {
    auto written = trust::write_identity(args.out, *key, made.certificate().certificate(),
                                         made.certificate().ca_certificate());
    if (!written) {
      return failed(kExitFailed,
                    fmt::format("{} was made, and its certificate could not be written: {}",
                                made.access().name(), written.error().message),
                    fmt::format("Revoke it, and make another: qmasq access revoke {}", *id));
    }
    shell.console.err << fmt::format(
        "key and certificate are in {}: use them with --certificates {}\n", args.out, args.out);
  }
  return show_one(shell, made.access(),
                  [](const Shell& on, const v1::Access& one) { print_table(on, {one}); });
}

Outcome<int> list(const Shell& shell, const Arguments&) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  std::vector<v1::Access> all;
  QMASQ_TRY(each_page(server, stub, &Stub::ListAccesses, v1::ListAccessesRequest{},
                      [&](v1::ListAccessesResponse& page) {
                        all.insert(all.end(), page.accesses().begin(), page.accesses().end());
                      }));
  return show_list(shell, "accesses", all, "nobody has access but root on the controller's machine",
                   print_table);
}

tl::unexpected<Failure> suggest(const Server& server, const Failure& failure,
                                const std::string& id) {
  return suggesting(failure, [&] { return near_matches(id, access_names(server)); });
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  auto id = parse_access_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::GetAccessRequest request;
  request.set_name(access_name(*id));
  auto access = server.call(stub, &Stub::GetAccess, request);
  if (!access) return suggest(server, access.error(), *id);
  return show_one(shell, *access, print_one);
}

Outcome<int> revoke(const Shell& shell, const Arguments& args) {
  auto id = parse_access_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::RevokeAccessRequest request;
  request.set_name(access_name(*id));
  request.set_request_id(args.request_id);
  auto access = server.call(stub, &Stub::RevokeAccess, request);
  if (!access) return suggest(server, access.error(), *id);
  return show_one(shell, *access,
                  [](const Shell& on, const v1::Access& one) { print_table(on, {one}); });
}

// Ours, in the directory that it is in.
Outcome<int> renew(const Shell& shell, const Arguments&) {
  const std::string& directory = shell.options.certificates;
  if (directory.empty()) {
    return failed(kExitUsage, "which certificate: give --certificates DIR or QMASQ_CERTIFICATES");
  }
  auto key = trust::PrivateKey::generate();
  if (!key) return failed(key.error());
  auto text = trust::make_certificate_request(*key);
  if (!text) return failed(text.error());
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::RenewCertificateRequest request;
  request.set_certificate_request(*text);
  QMASQ_ASSIGN(v1::Certificate made, server.call(stub, &Stub::RenewCertificate, request));
  auto written = trust::write_identity(directory, *key, made.certificate(), made.ca_certificate());
  if (!written) return failed(written.error());
  shell.console.err << fmt::format("{} is good until {}\n", directory,
                                   time_text(made.expire_time()));
  return kExitOk;
}

void add_create_options(CLI::App& command, Arguments& args) {
  CLI::Validator known = CLI::IsMember({"admin", "viewer", "vpc-admin"});
  known.description("");
  command.add_option("--role", args.role, "What they may do")
      ->required()
      ->check(known)
      ->type_name("admin|viewer|vpc-admin");
  command
      .add_option("--vpc", args.vpcs,
                  "A VPC of a vpc-admin, who sees no other; several times, or with commas.\nIt "
                  "need not exist yet")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("VPC");
  auto* user =
      command.add_option("--user", args.user,
                         "This user of the controller's machine, instead of a certificate;\n"
                         "by number or by a name of this machine");
  user->type_name("USER");
  command.add_option("--group", args.group, "The same for the members of a group")
      ->type_name("GID")
      ->excludes(user);
  command
      .add_option("--out", args.out,
                  "Directory for key and certificate, made here; the key leaves it\nnever")
      ->type_name("DIR");
  add_lifetime(command, "--ttl", args.ttl,
               "How long the certificate is good, at most 10 years [90d]");
  command.add_flag("--validate-only", args.validate_only, "Check everything, change nothing");
  command
      .add_option("--request-id", args.request_id,
                  "A UUID; a second command with the same one changes nothing\nand prints the "
                  "first one's result")
      ->type_name("UUID");
  command.footer(R"(
Examples:
  qmasq access create alice --role admin --out ~/.qmasq
  qmasq access create blue-team --role vpc-admin --vpc blue --out blue-team
  qmasq access create prometheus --role viewer --user prometheus)");
}

}  // namespace

void add_access_commands(CLI::App& root, Shell& shell) {
  CLI::App& group = *root.add_subcommand("access", "Who may do what at the controller");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();
  auto add = [&](const char* name, const char* description,
                 Outcome<int> (*action)(const Shell&, const Arguments&)) -> CLI::App& {
    return add_resource_command(group, shell, name, description, args, action,
                                "alice or accesses/alice", "ACCESS");
  };
  add_create_options(
      add("create", "Give a person, a program or a user of the machine a role", create), *args);
  add("list", "List who has a role, and who had one", list).footer(R"(
Example:
  qmasq access list -o json)");
  add("get", "Show one of them", get).footer(R"(
Example:
  qmasq access get alice)");
  CLI::App& revoke_command = add("revoke", "Take the role away, at once", revoke);
  revoke_command
      .add_option("--request-id", args->request_id,
                  "A UUID; a second command with the same one changes nothing\nand prints the "
                  "first one's result")
      ->type_name("UUID");
  revoke_command.footer(R"(
Example:
  qmasq access revoke alice)");
  CLI::App& renew_command =
      add_command(group, shell, "renew",
                  "Exchange your own certificate for a new one before it expires", args, renew);
  add_controller_options(renew_command, shell.options);
  renew_command.footer(R"(
Example:
  qmasq access renew --controller 192.0.2.1:7443 --certificates ~/.qmasq)");
}

}  // namespace qmasq::cli
