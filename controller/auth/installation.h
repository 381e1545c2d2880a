// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "controller/model/types.h"
#include "trust/authority.h"

// The files of authentication in the data directory:
//   tls/    0700: ca.pem, ca.key (0600), identity.pem (0600, the server's), server.names
//   admin/  0700: ca.pem, identity.pem (0600), the first admin's
namespace qmasq::controller {

inline constexpr std::chrono::hours kCaLife{24 * 365 * 20};
inline constexpr std::chrono::hours kServerLife{24 * 365};
inline constexpr std::chrono::hours kFirstAdminLife{24 * 365};
inline constexpr std::chrono::hours kHostLife{24 * 30};

[[nodiscard]] std::string tls_directory(const std::string& data_dir);
[[nodiscard]] std::string admin_directory(const std::string& data_dir);

struct InitOptions {
  std::string data_dir;
  std::string name = "qmasq";  // of the CA, for people
  std::string admin = "admin";
  std::vector<std::string> addresses;  // by which the server is reached, for its certificate
  std::vector<std::string> dns_names;
};
// Makes the CA, the server's certificate and the first admin's, and enters the admin into the
// store. Refuses (kAlreadyExists) where there is a CA; fails where a controller uses the directory.
[[nodiscard]] Status init_installation(const InitOptions& options, const Clock& clock);

// The CA; nothing where `init` was not done.
[[nodiscard]] Result<std::optional<trust::Authority>> load_authority(const std::string& data_dir);

// Gives the server a new key and certificate where less than a third of the old one's life is left.
// True: it did.
[[nodiscard]] Result<bool> renew_server_certificate(const std::string& data_dir,
                                                    const trust::Authority& authority,
                                                    TimePoint now);

// Looks after that every hour. gRPC notices the new file by itself.
class ServerCertificateKeeper {
 public:
  // The authority and the clock outlive this.
  ServerCertificateKeeper(std::string data_dir, const trust::Authority& authority,
                          const Clock& clock);
  ~ServerCertificateKeeper();

 private:
  void run();
  const std::string data_dir_;
  const trust::Authority& authority_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace qmasq::controller
