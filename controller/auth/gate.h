// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include <string_view>

#include "controller/auth/audit.h"
#include "controller/auth/auth_book.h"
#include "controller/auth/authenticator.h"
#include "controller/auth/live_calls.h"

namespace qmasq::controller {

// What every call of every service passes: who is it, not too often, not too big, may it? What does
// not pass is answered here, and recorded. Any thread.
class Gate {
 public:
  struct Rates {
    qos::VerbRate known{5000, 10000};  // of one caller, calls a second
    qos::VerbRate host{50, 200};
    qos::VerbRate unknown{20, 100};       // of one address
    qos::VerbRate all_unknown{200, 500};  // of all of them
  };
  // All of it outlives this.
  Gate(AuthBook& book, Authenticator& authenticator, LiveCalls& live, RefusalLog& refusals,
       const Clock& clock, ControllerMetrics& metrics, const Rates& rates)
      : book_(book),
        authenticator_(authenticator),
        live_(live),
        refusals_(refusals),
        clock_(clock),
        metrics_(metrics),
        rates_(rates) {}

  // `request` null: there is none yet, or it comes in pieces.
  [[nodiscard]] Result<Caller> admit(grpc::ServerContextBase& context, std::string_view method,
                                     const google::protobuf::Message* request);
  // Whether one that was admitted would still be.
  [[nodiscard]] Status check(const Caller& caller) const {
    return book_.check(caller, clock_.wall());
  }
  // A refusal that a service found out itself, later.
  void refused(const Caller& caller, std::string_view method, const Subject& subject,
               const Error& why) {
    refusals_.note(caller, method, subject, why);
  }
  [[nodiscard]] LiveCalls& live() { return live_; }

 private:
  Status check_rate(grpc::ServerContextBase& context, const Caller& caller, bool known);

  AuthBook& book_;
  Authenticator& authenticator_;
  LiveCalls& live_;
  RefusalLog& refusals_;
  const Clock& clock_;
  ControllerMetrics& metrics_;
  const Rates rates_;
  CallLimits limits_;
};

}  // namespace qmasq::controller
