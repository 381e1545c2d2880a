// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/installation.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "common/net_types.h"
#include "common/resource_name.h"
#include "controller/auth/audit.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "trust/secret_file.h"
#include "trust/stored_identity.h"

namespace qmasq::controller {
namespace {

constexpr std::chrono::hours kLookEvery{1};

std::string ca_key_file(const std::string& data_dir) {
  return tls_directory(data_dir) + "/ca.key";
}

std::string names_file(const std::string& data_dir) {
  return tls_directory(data_dir) + "/server.names";
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

struct ServerNames {
  std::vector<std::string> addresses;
  std::vector<std::string> dns_names;
};

Status check_names(const ServerNames& names) {
  for (const auto& address : names.addresses) {
    if (parse_ip(address)) continue;
    return fail(
        Code::kInvalidArgument,
        fmt::format("--address '{}' is no IP address: names are given with --dns", address));
  }
  for (const auto& name : names.dns_names) {
    const bool good = !name.empty() && name.size() <= 253 &&
                      name.find_first_not_of(
                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
                          std::string::npos;
    if (good) continue;
    return fail(Code::kInvalidArgument, fmt::format("--dns '{}' is no host name", name));
  }
  return {};
}

// One on a line, "ip:192.0.2.1" or "dns:controller.example".
std::string to_text(const ServerNames& names) {
  std::string out;
  for (const auto& address : names.addresses)
    out += "ip:" + address + "\n";
  for (const auto& name : names.dns_names)
    out += "dns:" + name + "\n";
  return out;
}

ServerNames names_of(std::string_view text) {
  ServerNames out;
  while (!text.empty()) {
    auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.starts_with("ip:")) out.addresses.emplace_back(line.substr(3));
    if (line.starts_with("dns:")) out.dns_names.emplace_back(line.substr(4));
  }
  return out;
}

Status issue_server(const std::string& directory, const trust::Authority& authority,
                    const ServerNames& names, TimePoint now) {
  QMASQ_ASSIGN(auto key, trust::PrivateKey::generate());
  trust::IssueOptions options;
  options.identity = {trust::Identity::Kind::kController, {}};
  options.purpose = trust::Purpose::kServer;
  options.now = now;
  options.validity = kServerLife;
  options.dns_names = names.dns_names;
  options.ip_addresses = names.addresses;
  QMASQ_ASSIGN(auto issued, authority.issue(trust::public_half(key), options));
  return trust::write_identity(directory, key, issued.pem, authority.certificate());
}

// The first admin's row and its certificate's. An interrupted `init` may have left the row.
Status enter_admin(Store& store, const std::string& id, const trust::CertificateInfo& certificate) {
  return store.write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(AccessPtr before, view.find_access(id));
    if (before && (before->role != Role::kAdmin || before->revoke_time)) {
      return fail(Code::kAlreadyExists,
                  fmt::format("{} exists and is no admin: choose another name with --admin",
                              access_name(id)));
    }
    Access access;
    access.id = id;
    access.role = Role::kAdmin;
    access.create_time = view.now();
    if (!before) QMASQ_TRY(view.put(access));
    QMASQ_TRY(view.put(CertificateRecord{certificate.serial, access_name(id), view.now(),
                                         certificate.not_after, std::nullopt}));
    Caller caller;
    caller.name = fmt::format("uid/{}", ::getuid());
    caller.role = Role::kAdmin;
    caller.peer = "local";
    AuditRecord record = audit_record(caller, "init");
    record.resource = access_name(id);
    record.message = "the CA and its first admin";
    return view.append(std::move(record), {});
  });
}

Status rename_directory(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  int err = errno;
  return fail_errno(err, fmt::format("cannot rename {} to {}", from, to));
}

}  // namespace

std::string tls_directory(const std::string& data_dir) {
  return data_dir + "/tls";
}

std::string admin_directory(const std::string& data_dir) {
  return data_dir + "/admin";
}

Status init_installation(const InitOptions& options, const Clock& clock) {
  const ServerNames names{options.addresses, options.dns_names};
  QMASQ_TRY(check_names(names));
  QMASQ_TRY(check_access_id(options.admin));
  for (const auto& path : {tls_directory(options.data_dir), admin_directory(options.data_dir)}) {
    if (!exists(path)) continue;
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists: this installation has its CA already, and a new one would "
                            "shut out every host and admin. To start anew, move it away yourself",
                            path));
  }
  sqlite::Options store_options;
  store_options.data_dir = options.data_dir;
  QMASQ_ASSIGN(auto store, sqlite::open_store(store_options, clock));
  const auto now = clock.wall();
  QMASQ_ASSIGN(auto authority, trust::Authority::create(options.name + " CA", now, kCaLife));
  QMASQ_ASSIGN(auto admin_key, trust::PrivateKey::generate());
  trust::IssueOptions issue;
  issue.identity = {trust::Identity::Kind::kAccess, options.admin};
  issue.now = now;
  issue.validity = kFirstAdminLife;
  QMASQ_ASSIGN(auto admin, authority.issue(trust::public_half(admin_key), issue));
  // Under other names first: a half made tls/ would look like a whole one.
  const std::string tls_new = tls_directory(options.data_dir) + ".new";
  const std::string admin_new = admin_directory(options.data_dir) + ".new";
  QMASQ_TRY(issue_server(tls_new, authority, names, now));
  QMASQ_ASSIGN(auto key_text, authority.key().pem());
  QMASQ_TRY(trust::write_file_atomically(tls_new + "/ca.key", key_text.reveal(), 0600));
  QMASQ_TRY(trust::write_file_atomically(tls_new + "/server.names", to_text(names), 0644));
  QMASQ_TRY(trust::write_identity(admin_new, admin_key, admin.pem, authority.certificate()));
  QMASQ_TRY(enter_admin(*store, options.admin, admin.info));
  QMASQ_TRY(rename_directory(admin_new, admin_directory(options.data_dir)));
  return rename_directory(tls_new, tls_directory(options.data_dir));
}

Result<std::optional<trust::Authority>> load_authority(const std::string& data_dir) {
  if (!exists(tls_directory(data_dir))) return std::nullopt;
  QMASQ_ASSIGN(auto certificate, trust::read_text_file(trust::ca_file(tls_directory(data_dir))));
  QMASQ_ASSIGN(auto key, trust::read_secret_file(ca_key_file(data_dir)));
  auto authority = trust::Authority::load(certificate, key.reveal());
  if (!authority) return with_context(std::move(authority).error(), tls_directory(data_dir));
  return std::optional(std::move(*authority));
}

Result<bool> renew_server_certificate(const std::string& data_dir,
                                      const trust::Authority& authority, TimePoint now) {
  const std::string directory = tls_directory(data_dir);
  QMASQ_ASSIGN(auto stored, trust::read_identity(directory));
  const auto life = stored.info.not_after - stored.info.not_before;
  if (stored.info.not_after - now > life / 3) return false;
  auto names = trust::read_text_file(names_file(data_dir));
  QMASQ_TRY(issue_server(directory, authority, names_of(names ? *names : std::string()), now));
  return true;
}

ServerCertificateKeeper::ServerCertificateKeeper(std::string data_dir,
                                                 const trust::Authority& authority,
                                                 const Clock& clock)
    : data_dir_(std::move(data_dir)), authority_(authority), clock_(clock) {
  thread_ = std::thread([this] { run(); });
}

ServerCertificateKeeper::~ServerCertificateKeeper() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void ServerCertificateKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kLookEvery, [this] { return stop_; })) {
    auto renewed = renew_server_certificate(data_dir_, authority_, clock_.wall());
    if (!renewed) {
      spdlog::error("the server's certificate cannot be renewed: {}", renewed.error().message);
    } else if (*renewed) {
      spdlog::info("the server's certificate was renewed");
    }
  }
}

}  // namespace qmasq::controller
