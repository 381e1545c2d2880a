// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/sync_client.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "qmasq/v1/sync.grpc.pb.h"
#include "vbond/sync/metrics.h"
#include "vbond/sync/outbox.h"
#include "vbond/sync/query_desk.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kTick{1000};
constexpr int kLargestMessage = 64 << 20;

std::shared_ptr<grpc::Channel> make_channel(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    milliseconds keepalive) {
  auto ms = static_cast<int>(keepalive.count());
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A host that does not answer at all: gRPC waits 20 s for a connection by itself.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, ms);
  arguments.SetMaxReceiveMessageSize(kLargestMessage);
  // Each attempt has a connection of its own: the backoff between attempts is ours.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

}  // namespace

Status check_controller_address(std::string_view address) {
  auto wrong = [&] {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not the address of a controller: write it as 192.0.2.1:7443, "
                            "[2001:db8::1]:7443, name:7443 or unix:/run/qmasq/controller.sock",
                            address));
  };
  if (address.rfind("unix:", 0) == 0) {
    std::string_view path = address.substr(5);
    return path.size() > 1 && path.front() == '/' ? Status{} : wrong();
  }
  auto colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  std::string_view host = address.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find_first_of(":[]/ ") != std::string_view::npos) return wrong();
  std::string_view digits = address.substr(colon + 1);
  std::uint16_t port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0) return wrong();
  return {};
}

// What the two threads and the reporters share.
struct SyncClient::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  Outbox outbox;
  bool stopping = false;
  bool retry = false;
  grpc::ClientContext* context = nullptr;  // of the stream that stands
};

// One stream. Its flags are guarded by Shared::mutex.
struct SyncClient::Stream {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SyncService::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SyncRequest, v1::SyncResponse>> wire;
  bool read_ended = false;
  bool timed_out = false;
  std::optional<milliseconds> heartbeat;  // set: welcome
  SteadyClock::time_point opened = SteadyClock::now();
};

SyncClient::SyncClient(Options options, SyncState& state, Follower& follower, EventLog& events,
                       SyncMetrics& metrics, std::function<double()> random,
                       std::function<void()> tick, QueryHandler* queries)
    : options_(std::move(options)),
      state_(state),
      events_(events),
      metrics_(metrics),
      tick_(std::move(tick)),
      backoff_(options_.backoff, std::move(random)),
      session_(options_.identity, options_.limits, state, follower),
      shared_(std::make_unique<Shared>()),
      desk_(std::make_unique<QueryDesk>(queries, state, [this](v1::Answer answer) {
        {
          std::lock_guard lock(shared_->mutex);
          shared_->outbox.reply(std::move(answer));
        }
        shared_->wake.notify_all();
      })) {}

SyncClient::~SyncClient() {
  stop();
}

void SyncClient::start() {
  desk_->start();
  thread_ = std::thread([this] { run(); });
}

void SyncClient::stop() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
    if (shared_->context != nullptr) shared_->context->TryCancel();
  }
  shared_->wake.notify_all();
  if (thread_.joinable()) thread_.join();
  desk_->stop();
}

bool SyncClient::stopping() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->stopping;
}

void SyncClient::retry() {
  {
    std::lock_guard lock(shared_->mutex);
    // One that stands is not disturbed, and has nothing to hurry for when it ends.
    if (shared_->context == nullptr) shared_->retry = true;
  }
  shared_->wake.notify_all();
}

void SyncClient::report_host(const HostNics& nics, std::string guard) {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->outbox.report_host(nics, std::move(guard));
  }
  shared_->wake.notify_all();
}

void SyncClient::report_endpoint(EndpointUid uid, const EndpointReport& report) {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->outbox.report_endpoint(uid, report);
  }
  shared_->wake.notify_all();
}

void SyncClient::forget_endpoint(EndpointUid uid) {
  std::lock_guard lock(shared_->mutex);
  shared_->outbox.forget_endpoint(uid);
}

void SyncClient::run() {
  while (!stopping()) {
    Ending ending = follow_one_stream();
    if (stopping()) return;
    if (ending.in_sync) backoff_.reset();
    auto delay = ending.refused ? backoff_.after_refusal() : backoff_.next();
    report_ending(ending, delay);
    std::unique_lock lock(shared_->mutex);
    shared_->wake.wait_for(lock, delay, [this] { return shared_->stopping || shared_->retry; });
    shared_->retry = false;
  }
}

SyncClient::Ending SyncClient::follow_one_stream() {
  Ending ending;
  Stream stream;
  auto credentials =
      options_.credentials
          ? options_.credentials()
          : Result<std::shared_ptr<grpc::ChannelCredentials>>(grpc::InsecureChannelCredentials());
  if (!credentials) {
    ending.reason = credentials.error().message;
    session_.closed(ending.reason);
    metrics_.set_status(state_.status());
    return ending;
  }
  stream.channel = make_channel(options_.controller, *credentials, options_.keepalive);
  stream.stub = v1::SyncService::NewStub(stream.channel);
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->stopping) return ending;
    shared_->retry = false;
    shared_->context = &stream.context;
  }
  stream.wire = stream.stub->Sync(&stream.context);
  v1::SyncRequest hello;
  *hello.mutable_hello() = session_.open();
  // When this fails the stream has ended already, and Finish says why.
  bool sent = stream.wire->Write(hello);
  std::string reason;
  if (sent) {
    std::thread writer([&] { write_all(stream); });
    reason = read_all(stream, ending);
    {
      std::lock_guard lock(shared_->mutex);
      stream.read_ended = true;
      if (!reason.empty()) stream.context.TryCancel();
    }
    shared_->wake.notify_all();
    writer.join();
  }
  // What is still being answered belongs to no later stream.
  desk_->forget();
  grpc::Status status = stream.wire->Finish();
  {
    std::lock_guard lock(shared_->mutex);
    shared_->context = nullptr;
    shared_->outbox.closed();
    if (stream.timed_out) {
      reason = fmt::format("no answer to Hello within {} s",
                           std::chrono::duration<double>(options_.welcome_timeout).count());
    }
  }
  if (reason.empty()) {
    reason = status.ok() ? "the controller ended the stream" : status.error_message();
    ending.refused = status.error_code() == grpc::StatusCode::ABORTED ||
                     status.error_code() == grpc::StatusCode::FAILED_PRECONDITION ||
                     status.error_code() == grpc::StatusCode::UNIMPLEMENTED ||
                     status.error_code() == grpc::StatusCode::PERMISSION_DENIED ||
                     status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED && options_.unauthenticated) {
      options_.unauthenticated();
    }
    if (status.error_code() == grpc::StatusCode::ABORTED) {
      reason += fmt::format("; every host needs a --host-name of its own, and two agents use {}",
                            options_.identity.host);
    }
  }
  ending.reason = std::move(reason);
  session_.closed(ending.reason);
  metrics_.set_status(state_.status());
  return ending;
}

std::string SyncClient::read_all(Stream& stream, Ending& ending) {
  v1::SyncResponse message;
  while (stream.wire->Read(&message)) {
    auto reaction = session_.receive(message);
    message.Clear();
    if (!reaction) return reaction.error().message;
    take_reaction(stream, *reaction, ending);
  }
  return {};
}

void SyncClient::take_reaction(Stream& stream, const Session::Reaction& reaction, Ending& ending) {
  if (reaction.heartbeat && !ending.welcomed) {
    ending.welcomed = true;
    metrics_.count_stream(true);
  }
  if (reaction.applied || reaction.rejected) metrics_.count_batch(reaction.applied);
  if (reaction.in_sync && !ending.in_sync) {
    ending.in_sync = true;
    last_reason_.clear();
    Event event;
    event.type = EventType::kSync;
    event.reason = fmt::format("in sync with the controller at {}, revision {}",
                               options_.controller, session_.held().revision.value);
    events_.record(std::move(event));
  }
  if (reaction.rejected) {
    Event event;
    event.type = EventType::kSync;
    event.reason = fmt::format("rejected revision {}: {}", reaction.answer->reject().revision(),
                               reaction.rejected->message);
    spdlog::error("sync: {}; what was held before stays in use", event.reason);
    state_.set_error(event.reason);
    events_.record(std::move(event));
  }
  metrics_.set_status(state_.status());
  {
    std::lock_guard lock(shared_->mutex);
    if (reaction.heartbeat) {
      stream.heartbeat = reaction.heartbeat;
      shared_->outbox.welcomed();
    }
    if (reaction.answer) shared_->outbox.answer(*reaction.answer);
  }
  shared_->wake.notify_all();
  if (reaction.query) desk_->ask(*reaction.query);
}

void SyncClient::write_all(Stream& stream) {
  auto last_write = SteadyClock::now();
  auto last_tick = last_write - kTick;
  std::unique_lock lock(shared_->mutex);
  auto over = [&] { return stream.read_ended || shared_->stopping; };
  while (!over()) {
    auto now = SteadyClock::now();
    if (!stream.heartbeat && now - stream.opened >= options_.welcome_timeout) {
      stream.timed_out = true;
      stream.context.TryCancel();
      return;
    }
    if (stream.heartbeat && tick_ && now - last_tick >= kTick) {
      last_tick = now;
      lock.unlock();
      tick_();
      lock.lock();
      continue;
    }
    auto request = shared_->outbox.take();
    if (!request && stream.heartbeat && now - last_write >= *stream.heartbeat) {
      request.emplace().mutable_heartbeat();
    }
    if (request) {
      lock.unlock();
      // A controller that does not read holds us here; keepalive or stop() ends it.
      bool sent = stream.wire->Write(*request);
      lock.lock();
      if (!sent) return;
      last_write = SteadyClock::now();
      continue;
    }
    auto wait_until = stream.heartbeat ? std::min(last_write + *stream.heartbeat, last_tick + kTick)
                                       : stream.opened + options_.welcome_timeout;
    shared_->wake.wait_until(lock, wait_until);
  }
}

void SyncClient::report_ending(const Ending& ending, milliseconds delay) {
  if (!ending.welcomed) metrics_.count_stream(false);
  auto seconds = std::chrono::duration<double>(delay).count();
  auto text = fmt::format("controller {}: {}; trying again in {:.1f} s", options_.controller,
                          ending.reason, seconds);
  // The same trouble once, until it is over: a controller may be away for a day.
  bool news = ending.reason != last_reason_;
  last_reason_ = ending.reason;
  if (ending.refused) {
    spdlog::error("sync: {}", text);
  } else {
    spdlog::log(news ? spdlog::level::warn : spdlog::level::debug, "sync: {}", text);
  }
  if (!ending.welcomed && !news) return;
  Event event;
  event.type = EventType::kSync;
  event.reason = std::move(text);
  events_.record(std::move(event));
}

}  // namespace qmasq::vbond
