// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "trust/key.h"

namespace qmasq::trust {

// PKCS #10, PEM. It carries a key and the proof that its maker holds it, and nothing else: names
// and extensions are the CA's to choose.
[[nodiscard]] Result<std::string> make_certificate_request(const PrivateKey& key);
// The key of a request whose signature is right; kInvalidArgument otherwise. Hostile input.
[[nodiscard]] Result<PublicKey> read_certificate_request(std::string_view pem);

}  // namespace qmasq::trust
