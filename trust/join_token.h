// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "trust/secret.h"

// "qmasq1.SECRET.FINGERPRINT": what one agent joins with, once. The secret (256 random bits, base64
// for URLs) proves the agent to the controller, the fingerprint of the CA (SHA-256, hexadecimal)
// proves the controller to the agent. Pure; any thread.
namespace qmasq::trust {

struct JoinTokenParts {
  Secret secret;
  std::string fingerprint;
};

[[nodiscard]] Result<Secret> make_join_token(std::string_view ca_fingerprint);
// kInvalidArgument, without a byte of the token in the text.
[[nodiscard]] Result<JoinTokenParts> parse_join_token(std::string_view token);

// What the controller keeps of it: SHA-256, hexadecimal. 256 random bits need no salt.
[[nodiscard]] Result<std::string> hash_join_secret(const Secret& secret);
// In a time that says nothing about where they differ.
[[nodiscard]] bool equal_secrets(std::string_view one, std::string_view other);

}  // namespace qmasq::trust
