// SPDX-License-Identifier: Apache-2.0
#include "cli/resources.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include <CLI/CLI.hpp>

#include "cli/duration.h"
#include "cli/names.h"
#include "cli/table.h"
#include "qmasq/v1/host.grpc.pb.h"

namespace qmasq::cli {
namespace {

// The most that one WaitRollout takes.
constexpr std::chrono::milliseconds kLongestWait{300'000};

std::string describe(const v1::HostRollout& host) {
  std::string name = short_name(host.host());
  switch (host.state()) {
    case v1::HostRollout::REJECTED:
      return fmt::format("{} (rejected it: {})", name, host.reason());
    case v1::HostRollout::OFFLINE:
      return fmt::format("{} (offline, holds revision {})", name, host.applied_revision());
    default:
      return fmt::format("{} (holds revision {})", name, host.applied_revision());
  }
}

bool any_rejected(const v1::WaitRolloutResponse& rollout) {
  return std::any_of(rollout.hosts().begin(), rollout.hosts().end(),
                     [](const auto& host) { return host.state() == v1::HostRollout::REJECTED; });
}

}  // namespace

void add_mutation_options(CLI::App& command, MutationOptions& options, bool with_etag) {
  auto* validate = command.add_flag("--validate-only", options.validate_only,
                                    "Check everything, change nothing");
  command
      .add_option("--request-id", options.request_id,
                  "A UUID; a second command with the same one changes nothing\nand prints the "
                  "first one's result")
      ->type_name("UUID");
  if (with_etag) {
    command
        .add_option("--etag", options.etag,
                    "Only if this is still the resource's etag, as `get -o json` shows it")
        ->type_name("ETAG");
  }
  auto set = [&options](const std::string& text) {
    auto parsed = parse_duration(text);
    if (!parsed) throw CLI::ValidationError(parsed.error().message);
    options.wait = *parsed;
  };
  command
      .add_option_function<std::string>(
          "--wait", set,
          "Wait until the hosts it concerns have applied it\n[30s if no duration follows]")
      ->type_name("[DURATION]")
      ->excludes(validate);
}

void add_list_options(CLI::App& command, ListOptions& options, const std::string& fields) {
  command
      .add_option("--filter", options.filter,
                  "FIELD=VALUE terms joined by ' AND '; VALUE may end in *.\nFields: " + fields)
      ->type_name("FILTER");
  command.add_option("--page-size", options.page_size, "Items a call; all pages are read anyway")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
}

Outcome<int> wait_for_hosts(const Shell& shell, const Server& server,
                            const MutationOptions& options, std::uint64_t revision) {
  if (options.validate_only) {
    shell.console.err << "valid; nothing was changed\n";
    return kExitOk;
  }
  if (!options.wait) return kExitOk;
  v1::HostService::Stub stub(server.channel());
  v1::WaitRolloutRequest request;
  request.set_revision(revision);
  v1::WaitRolloutResponse rollout;
  std::chrono::milliseconds left = *options.wait;
  do {
    auto now = std::min(left, kLongestWait);
    *request.mutable_timeout() =
        google::protobuf::util::TimeUtil::MillisecondsToDuration(now.count());
    auto answer = server.call(stub, &v1::HostService::Stub::WaitRollout, request, now);
    if (!answer) {
      Failure failure = answer.error();
      failure.message = "the change is made, but waiting for the hosts failed: " + failure.message;
      return tl::unexpected<Failure>(failure);
    }
    rollout = std::move(*answer);
    left -= now;
  } while (left.count() > 0 && !rollout.complete() && !any_rejected(rollout));

  std::vector<std::string> applied;
  std::vector<std::string> missing;
  for (const auto& host : rollout.hosts()) {
    if (host.state() == v1::HostRollout::APPLIED) {
      applied.push_back(short_name(host.host()));
    } else {
      missing.push_back(describe(host));
    }
  }
  if (rollout.complete()) {
    shell.console.err << (applied.empty() ? std::string("no host is concerned")
                                          : "applied by " + printable(join(applied)))
                      << '\n';
    return kExitOk;
  }
  return failed(kExitIncomplete,
                fmt::format("the change is made, but revision {} is not yet applied by {}",
                            revision, join(missing)),
                applied.empty() ? "" : "Applied by " + join(applied) + ".");
}

Outcome<int> finish_delete(const Shell& shell, const Server& server, const MutationOptions& options,
                           const std::string& name, std::uint64_t revision,
                           const google::protobuf::Message& response) {
  if (shell.options.format != Format::kTable) {
    print_document(shell.console.out, to_document(response), shell.options.format);
  } else if (!options.validate_only) {
    shell.console.out << "deleted " << printable(name) << '\n';
  }
  return wait_for_hosts(shell, server, options, revision);
}

std::string time_text(const google::protobuf::Timestamp& stamp) {
  if (stamp.seconds() == 0 && stamp.nanos() == 0) return "";
  return google::protobuf::util::TimeUtil::ToString(stamp);
}

tl::unexpected<Failure> suggesting(Failure failure,
                                   const std::function<std::vector<std::string>()>& matches) {
  if (failure.not_found && failure.hint.empty()) {
    auto near = matches();
    if (!near.empty()) failure.hint = "Did you mean " + join(near, " or ") + "?";
  }
  return tl::unexpected<Failure>(std::move(failure));
}

}  // namespace qmasq::cli
