// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "trust/secret.h"
#include "trust/stored_identity.h"

namespace qmasq::vbond {

inline constexpr const char* kDefaultCertificates = "/var/lib/qmasq-vbond/tls";

struct JoinOptions {
  std::string controller;    // "ADDR:PORT" or "unix:PATH"
  std::string certificates;  // directory that is to hold key and certificate
  std::chrono::milliseconds timeout{10'000};
};

// Makes a key, has the controller sign it for the host that the token names, and writes both to the
// directory. Over TCP the controller must show the CA whose fingerprint is in the token, before it
// sees the secret. Blocks; any thread. Errors say what to do and never have a byte of the token.
[[nodiscard]] Result<trust::StoredIdentity> join(const JoinOptions& options,
                                                 const trust::Secret& token, const Clock& clock);

// A new key and certificate in place of those in the directory, for a host that still has a valid
// one. As above.
[[nodiscard]] Result<trust::StoredIdentity> renew(const JoinOptions& options, const Clock& clock);

// A token without white space around it. `path` "-": from standard input. The file must be closed
// to others.
[[nodiscard]] Result<trust::Secret> read_token(const std::string& path);

}  // namespace qmasq::vbond
