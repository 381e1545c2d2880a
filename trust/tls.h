// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "trust/certificate.h"

// gRPC over TLS 1.3, and nothing older. Both sides take their files from a directory as
// trust/stored_identity.h has it, and notice within seconds when these are renewed: new connections
// use the new certificate, those that stand go on.
//
// A client believes a server whose certificate this CA made for "qmasq://controller", by whatever
// address it was reached: the CA makes no other server's, so that the address would add nothing but
// failures behind address translation.
namespace qmasq::trust {

// gRPC 1.51 has no way to ask for TLS 1.3; what it has is the list of older cipher suites, from the
// environment, read once. So: at the start of main, before other threads and before any gRPC. The
// functions below fail (kInternal) without it.
void require_tls13();

// The server asks for a client's certificate and takes any: gRPC would answer a stranger's or an
// expired one with a broken handshake and no word why. Who serves calls must verify what
// peer_certificate() gives, for each call.
[[nodiscard]] Result<std::shared_ptr<grpc::ServerCredentials>> server_credentials(
    const std::string& directory);
// The certificate that the caller proved in its handshake to have the key of, in PEM form; empty
// for a caller that has none, and on connections without TLS.
[[nodiscard]] std::string peer_certificate(const grpc::AuthContext& context);
[[nodiscard]] bool is_tls(const grpc::AuthContext& context);

// With the identity in the directory. `clock` outlives all channels.
[[nodiscard]] Result<std::shared_ptr<grpc::ChannelCredentials>> client_credentials(
    const std::string& directory, const Clock& clock);
// Without an identity, for JoinHost: the server must show the CA with this fingerprint, and a
// certificate by it.
[[nodiscard]] Result<std::shared_ptr<grpc::ChannelCredentials>> joining_credentials(
    const std::string& ca_fingerprint, const Clock& clock);

}  // namespace qmasq::trust
