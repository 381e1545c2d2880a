// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/security/credentials.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/clock.h"
#include "common/result.h"
#include "trust/stored_identity.h"
#include "vbond/join/join.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

class JoinMetrics;

// How this agent proves to the controller which host it is: joins with a token where there is no
// certificate yet, renews it before it ends, and gives each new stream the credentials that are
// good then. Without a certificate only a Unix socket or loopback is spoken to.
class Membership {
 public:
  struct Options {
    std::string controller;
    std::string host;          // "hosts/hostA"
    std::string certificates;  // directory
    std::string token_file;    // empty: none
  };
  // `random`: a number in [0, 1). `report`: for people, what happened to the certificate.
  // `replaced`: there is another certificate than before, whoever put it there. All of any thread.
  // References must outlive this.
  Membership(
      Options options, const Clock& clock, prometheus::Registry& registry,
      std::function<double()> random, std::function<void(const std::string&)> report,
      std::function<void()> replaced = [] {});
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // For a new connection. May block for as long as joining takes. Errors say what to do.
  [[nodiscard]] Result<std::shared_ptr<grpc::ChannelCredentials>> credentials();
  // The controller does not take our certificate (any more). A token that lies ready is tried next.
  void refused();

  // The thread that renews.
  void start();
  void stop();

  // When to renew a certificate that came at `issued` and ends at `end`: after two thirds of that
  // time, up to a twentieth of it earlier, so that hosts that joined together do not renew
  // together.
  [[nodiscard]] static trust::WallTime renewal_time(trust::WallTime issued, trust::WallTime end,
                                                    double random);

 private:
  void run();
  // Reads what is held and says why it is no good, if so.
  [[nodiscard]] Result<trust::StoredIdentity> check_identity() const;
  [[nodiscard]] Result<trust::StoredIdentity> join_with_token();
  [[nodiscard]] std::string how_to_join() const;
  // How long to sleep.
  [[nodiscard]] std::chrono::milliseconds renew_if_due();
  void notice(const std::string& serial);

  const Options options_;
  const Clock& clock_;
  const std::function<double()> random_;
  const std::function<void(const std::string&)> report_;
  const std::function<void()> replaced_;
  const std::unique_ptr<JoinMetrics> metrics_;
  // Of the renewing thread.
  std::optional<trust::WallTime> due_;
  std::string due_for_;                 // serial
  std::optional<std::string> noticed_;  // serial, or empty: there was none
  std::chrono::milliseconds retry_{0};
  std::string last_trouble_;

  std::mutex mutex_;  // guards the below
  std::condition_variable wake_;
  bool stopping_ = false;
  bool refused_ = false;
  std::thread thread_;
};

}  // namespace qmasq::vbond
