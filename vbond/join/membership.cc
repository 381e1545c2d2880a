// SPDX-License-Identifier: Apache-2.0
#include "vbond/join/membership.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/loopback.h"
#include "trust/identity.h"
#include "trust/tls.h"
#include "vbond/join/metrics.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using trust::WallTime;

constexpr milliseconds kFirstRetry{1'000};
constexpr milliseconds kLongestRetry{600'000};
// How often a certificate that somebody else put there is noticed.
constexpr milliseconds kLook{60'000};
// The same while there is none that is of use, and somebody is perhaps about to do that.
constexpr milliseconds kLookSoon{2'000};

std::string text_of(WallTime time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::string id_of(const std::string& host) {
  return host.substr(host.rfind('/') + 1);
}

bool exists(const std::string& path) {
  struct stat info {};
  return !path.empty() && ::stat(path.c_str(), &info) == 0;
}

// When the certificate came here: its own begin is put back by its CA.
WallTime issued(const std::string& directory, const trust::CertificateInfo& info) {
  struct stat file {};
  if (::stat(trust::identity_file(directory).c_str(), &file) != 0) return info.not_before;
  auto time = std::chrono::system_clock::from_time_t(file.st_mtim.tv_sec);
  return time > info.not_before && time < info.not_after ? time : info.not_before;
}

}  // namespace

Membership::Membership(Options options, const Clock& clock, prometheus::Registry& registry,
                       std::function<double()> random,
                       std::function<void(const std::string&)> report,
                       std::function<void()> replaced)
    : options_(std::move(options)),
      clock_(clock),
      random_(std::move(random)),
      report_(std::move(report)),
      replaced_(std::move(replaced)),
      metrics_(std::make_unique<JoinMetrics>(registry)) {}

Membership::~Membership() {
  stop();
}

std::string Membership::how_to_join() const {
  return fmt::format(
      "make a token with `qmasq host token {}`, and give it to `qmasq-vbond join --controller {} "
      "--token-file -` here",
      id_of(options_.host), options_.controller);
}

Result<trust::StoredIdentity> Membership::check_identity() const {
  auto held = trust::read_identity(options_.certificates);
  if (!held && held.error().code == Code::kNotFound) {
    return fail(Code::kNotFound, fmt::format("there is no certificate in {} yet: {}",
                                             options_.certificates, how_to_join()));
  }
  if (!held) return held;
  const trust::CertificateInfo& info = held->info;
  if (trust::name_of(info.identity) != options_.host) {
    return fail(Code::kFailedPrecondition,
                fmt::format("the certificate in {} is of {}, and this agent is {}: give it that "
                            "--host-name, or {}",
                            options_.certificates, trust::name_of(info.identity), options_.host,
                            how_to_join()));
  }
  const WallTime now = clock_.wall();
  if (now >= info.not_after) {
    return fail(
        Code::kUnauthenticated,
        fmt::format("the certificate in {} expired at {}, and it is {} by this host's "
                    "clock: {}",
                    options_.certificates, text_of(info.not_after), text_of(now), how_to_join()));
  }
  if (now < info.not_before) {
    return fail(Code::kUnauthenticated,
                fmt::format("the certificate in {} is good from {} on, and it is {} by this "
                            "host's clock: set the clock",
                            options_.certificates, text_of(info.not_before), text_of(now)));
  }
  return held;
}

Result<trust::StoredIdentity> Membership::join_with_token() {
  auto token = read_token(options_.token_file);
  if (!token) return tl::unexpected(token.error());
  auto joined = join({options_.controller, options_.certificates}, *token, clock_);
  if (!joined) return joined;
  // It is used up. Where it lies on a read-only mount it stays, and does no harm.
  const bool gone = ::unlink(options_.token_file.c_str()) == 0;
  report_(fmt::format("joined as {}; the certificate is good until {}{}",
                      trust::name_of(joined->info.identity), text_of(joined->info.not_after),
                      gone ? ""
                           : fmt::format("; cannot remove the used token {}: {}",
                                         options_.token_file, std::strerror(errno))));
  {
    std::lock_guard lock(mutex_);
    refused_ = false;
  }
  wake_.notify_all();
  return check_identity();
}

Result<std::shared_ptr<grpc::ChannelCredentials>> Membership::credentials() {
  if (options_.controller.rfind("unix:", 0) == 0) return grpc::InsecureChannelCredentials();
  const bool token = exists(options_.token_file);
  if (!token && is_loopback_target(options_.controller) &&
      !exists(trust::identity_file(options_.certificates))) {
    return grpc::InsecureChannelCredentials();
  }
  bool refused = false;
  {
    std::lock_guard lock(mutex_);
    refused = refused_;
  }
  auto identity = check_identity();
  if (token && (!identity || refused)) {
    auto joined = join_with_token();
    // An old token beside a certificate says nothing about that.
    if (!joined && !identity) {
      return fail(joined.error().code, fmt::format("cannot join with the token in {}: {}",
                                                   options_.token_file, joined.error().message));
    }
    if (joined) identity = std::move(joined);
  }
  if (!identity) return tl::unexpected(identity.error());
  metrics_->set_expiry(identity->info.not_after);
  return trust::client_credentials(options_.certificates, clock_);
}

void Membership::refused() {
  {
    std::lock_guard lock(mutex_);
    refused_ = true;
  }
  wake_.notify_all();
}

WallTime Membership::renewal_time(WallTime issued, WallTime end, double random) {
  const auto life = end - issued;
  const auto early =
      std::chrono::duration_cast<WallTime::duration>(std::chrono::duration<double>(life) * random);
  return issued + life * 2 / 3 - early / 20;
}

void Membership::notice(const std::string& serial) {
  const bool news = noticed_ && *noticed_ != serial;
  noticed_ = serial;
  if (!news) return;
  {
    std::lock_guard lock(mutex_);
    refused_ = false;
  }
  replaced_();
}

milliseconds Membership::renew_if_due() {
  auto held = trust::read_identity(options_.certificates);
  notice(held ? held->info.serial : "");
  if (!held) return kLookSoon;
  metrics_->set_expiry(held->info.not_after);
  const WallTime now = clock_.wall();
  // What has ended cannot be renewed; credentials() says what to do.
  if (now >= held->info.not_after) return kLookSoon;
  if (!due_ || due_for_ != held->info.serial) {
    due_ = renewal_time(issued(options_.certificates, held->info), held->info.not_after, random_());
    due_for_ = held->info.serial;
    retry_ = {};
  }
  auto until = std::chrono::duration_cast<milliseconds>(*due_ - now);
  // Clocks are set; look again now and then.
  if (until.count() > 0) return std::min(until, kLook);
  auto renewed = renew({options_.controller, options_.certificates}, clock_);
  metrics_->count_renewal(renewed.has_value());
  if (renewed) {
    metrics_->set_expiry(renewed->info.not_after);
    last_trouble_.clear();
    due_.reset();
    report_(fmt::format("renewed the certificate; it is good until {}",
                        text_of(renewed->info.not_after)));
    return milliseconds(1);
  }
  // Each trouble once; the metric counts on.
  if (renewed.error().message != last_trouble_) {
    last_trouble_ = renewed.error().message;
    report_(fmt::format("cannot renew the certificate, which is good until {}: {}",
                        text_of(held->info.not_after), last_trouble_));
  }
  retry_ = retry_.count() == 0 ? kFirstRetry : std::min(retry_ * 2, kLongestRetry);
  return std::chrono::duration_cast<milliseconds>(retry_ * (0.5 + random_() / 2));
}

void Membership::start() {
  if (options_.controller.rfind("unix:", 0) == 0) return;
  thread_ = std::thread([this] { run(); });
}

void Membership::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Membership::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    auto pause = renew_if_due();
    lock.lock();
    if (refused_) pause = std::min(pause, kLookSoon);
    if (!stopping_) wake_.wait_for(lock, pause);
  }
}

}  // namespace qmasq::vbond
