// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/rpc.h"
#include "cli/shell.h"
#include "qmasq/v1/auth.pb.h"

namespace google::protobuf {
class Timestamp;
}

// What the commands of VPCs, endpoints and hosts have in common.
namespace qmasq::cli {

struct MutationOptions {
  bool validate_only = false;
  std::string request_id;
  std::string etag;
  std::optional<std::chrono::milliseconds> wait;
};
// `with_etag`: for update and delete.
void add_mutation_options(CLI::App& command, MutationOptions& options, bool with_etag);

struct ListOptions {
  std::string filter;
  int page_size = 0;
};
void add_list_options(CLI::App& command, ListOptions& options, const std::string& fields);

// Waits for the hosts that `revision` concerns, if the user asked for it: says on standard error
// which have it, and answers kExitIncomplete if some have not.
[[nodiscard]] Outcome<int> wait_for_hosts(const Shell& shell, const Server& server,
                                          const MutationOptions& options, std::uint64_t revision);

// What every mutation has; an etag comes with the resource (update) or the request (delete).
template <typename Request>
void fill_mutation(const MutationOptions& options, Request& request) {
  request.set_validate_only(options.validate_only);
  request.set_request_id(options.request_id);
}
template <typename Request>
void fill_delete(const MutationOptions& options, const std::string& name, Request& request) {
  request.set_name(name);
  request.set_etag(options.etag);
  fill_mutation(options, request);
}

// After a get. `print` is for people.
template <typename Resource, typename Print>
[[nodiscard]] Outcome<int> show_one(const Shell& shell, const Resource& resource, Print print) {
  if (shell.options.format == Format::kTable) {
    print(shell, resource);
  } else {
    print_document(shell.console.out, to_document(resource), shell.options.format);
  }
  return kExitOk;
}

// After a mutation that gives a resource. `print_table` prints a list of them, for people.
template <typename Resource, typename Print>
[[nodiscard]] Outcome<int> finish(const Shell& shell, const Server& server,
                                  const MutationOptions& options, const Resource& resource,
                                  Print print_table) {
  QMASQ_TRY(show_one(shell, resource, [&](const Shell& on, const Resource& one) {
    print_table(on, std::vector<Resource>{one});
  }));
  return wait_for_hosts(shell, server, options, resource.revision());
}

// After a delete.
[[nodiscard]] Outcome<int> finish_delete(const Shell& shell, const Server& server,
                                         const MutationOptions& options, const std::string& name,
                                         std::uint64_t revision,
                                         const google::protobuf::Message& response);

// All pages of a list call. `append` moves the items of a page to where they are wanted.
template <typename Stub, typename Request, typename Response, typename Append>
[[nodiscard]] Outcome<int> each_page(const Server& server, Stub& stub,
                                     grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                                     Request request, Append append) {
  for (;;) {
    auto page = server.call(stub, method, request);
    if (!page) return tl::unexpected(page.error());
    append(*page);
    if (page->next_page_token().empty()) return kExitOk;
    if (page->next_page_token() == request.page_token()) {
      return failed(kExitFailed, "the controller answers the same page again and again");
    }
    request.set_page_token(page->next_page_token());
  }
}

// {"vpcs": [...]}
template <typename Items>
[[nodiscard]] nlohmann::ordered_json list_document(const std::string& key, const Items& items) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& item : items)
    list.push_back(to_document(item));
  nlohmann::ordered_json out;
  out[key] = std::move(list);
  return out;
}

// After a list call. `none` is said to people when there is nothing to print.
template <typename Items, typename Print>
[[nodiscard]] Outcome<int> show_list(const Shell& shell, const std::string& key, const Items& items,
                                     const std::string& none, Print print) {
  if (shell.options.format != Format::kTable) {
    print_document(shell.console.out, list_document(key, items), shell.options.format);
  } else if (items.empty()) {
    shell.console.err << none << '\n';
  } else {
    print(shell, items);
  }
  return kExitOk;
}

// "2026-01-31T12:00:00Z", or empty for a stamp that is not set.
[[nodiscard]] std::string time_text(const google::protobuf::Timestamp& stamp);

// "vpc-admin".
[[nodiscard]] std::string role_text(v1::Role role);

// Adds "Did you mean ...?" to a failure about a name that does not exist. `matches` is asked only
// then.
[[nodiscard]] tl::unexpected<Failure> suggesting(
    Failure failure, const std::function<std::vector<std::string>()>& matches);

}  // namespace qmasq::cli
