// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "qmasq/v1/security_group.grpc.pb.h"
#include "tests/integration/controller/controller_process.h"

namespace qmasq::controller::testing {

// What is compared of an object: all of it but what agents report and what is counted when it is
// asked for.
[[nodiscard]] std::string wire(v1::Vpc vpc);
[[nodiscard]] std::string wire(v1::Endpoint endpoint);
[[nodiscard]] std::string wire(v1::SecurityGroup group);
[[nodiscard]] std::string wire(v1::QosPolicy policy);

// Everything that the controller says it has, by name. The default groups are left out: they come
// and go with their VPCs.
struct Listing {
  std::map<std::string, std::string> objects;  // wire()
  std::vector<v1::Vpc> vpcs;
  std::vector<v1::Endpoint> endpoints;
  std::vector<v1::SecurityGroup> groups;  // all of them
  std::vector<v1::QosPolicy> policies;
};
[[nodiscard]] Listing list_all(const ControllerProcess& process);

// One client that creates, changes and deletes objects of its own, one after the other, and
// remembers what the controller acknowledged. Every request has an id of its own.
class Writer {
 public:
  Writer(unsigned number, unsigned seed) : number_(number), random_(seed) {}

  // Until a call fails: what it was then is in doubt.
  void write_until_it_dies(const ControllerProcess& process);
  // After the restart. What was in doubt is there wholly or not at all; repeated, it is there once.
  void resolve(const ControllerProcess& process);

  // What the controller acknowledged, and has to have.
  [[nodiscard]] const std::map<std::string, std::string>& objects() const { return objects_; }
  // So many writes; may be asked from another thread.
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
  // Requests that the kill swallowed, and of those the ones that had been carried out.
  unsigned in_doubt = 0;
  unsigned done_in_doubt = 0;

 private:
  struct Stubs;
  struct Answer {
    grpc::Status status;
    std::string object;  // wire(); empty: it is gone
    std::uint64_t revision = 0;
  };
  struct Request {
    std::string name;
    std::string text;  // that only this request put there; empty: it deletes
    std::function<Answer(Stubs&)> send;
  };

  [[nodiscard]] Request next();
  [[nodiscard]] Request on_vpc(const std::string& id);
  [[nodiscard]] Request on_endpoint();
  [[nodiscard]] Request on_group();
  [[nodiscard]] Request on_policy();
  [[nodiscard]] bool has(const std::string& name) const { return objects_.contains(name); }
  [[nodiscard]] std::string request_id();
  [[nodiscard]] std::string text();
  [[nodiscard]] std::string address();
  void take(const Request& request, const Answer& answer);

  const unsigned number_;
  std::mt19937 random_;
  unsigned requests_ = 0;
  unsigned addresses_ = 0;
  std::map<std::string, std::string> objects_;
  std::optional<Request> doubted_;
  std::atomic<std::uint64_t> acknowledged_{0};
  std::uint64_t last_revision_ = 0;
};

}  // namespace qmasq::controller::testing
