// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"

namespace prometheus {
class Exposer;
class Registry;
}  // namespace prometheus

namespace qmasq {

// A program's metrics: the registry that its parts declare into, and the HTTP port that Prometheus
// scrapes (GET /metrics). One of it, made in main and outliving every part. registry() may be used
// from any thread.
//
// Metrics: qmasq_build_info{program,version} = 1.
class Metrics {
 public:
  // `address`: "IP:PORT" ("127.0.0.1:9470", "[::1]:9470"; port 0 lets the kernel choose), or empty:
  // metrics are counted and not served.
  // Errors: kInvalidArgument for what is no IP:PORT; kAlreadyExists for a port that is taken;
  // the bind error's own code for the rest (an address that is not this machine's, a port that
  // needs root).
  [[nodiscard]] static Result<std::unique_ptr<Metrics>> create(std::string_view program,
                                                               std::string_view address);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  [[nodiscard]] prometheus::Registry& registry() { return *registry_; }
  // "IP:PORT" as served, or empty.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  Metrics();

  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // its threads read registry_: goes first
  std::string address_;
};

}  // namespace qmasq
