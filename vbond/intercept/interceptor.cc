// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/interceptor.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "vbond/attach/protocol.h"
#include "vbond/events/event_log.h"
#include "vbond/intercept/attachment.h"
#include "vbond/intercept/dispatcher.h"
#include "vbond/intercept/ending.h"
#include "vbond/intercept/holder_watch.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/sealed_calls.h"
#include "vbond/intercept/sealing.h"
#include "vbond/intercept/services.h"
#include "vbond/intercept/takeover.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/renamer.h"
#include "vbond/survival/ledger.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using AttachmentPtr = std::shared_ptr<Attachment>;

// Rounds without traffic after which the steward sleeps until the next trap.
constexpr unsigned kQuietRounds = 20;
constexpr int kMostHangUps = 32;
// How often it is looked at what has run in tenants.
constexpr std::chrono::seconds kSettleEvery{2};

// REQUIRES of their use: context.mutex held, not closed.
Hands hands_on(Context& context) {
  return {
      [&context](const uverbs::ModifyQp& command) { return modify_queue_pair(context, command); },
      [&context](std::uint32_t handle) {
        const int err = destroy_address_handle(context, handle);
        if (err == 0) context.address_handles.cut(handle);
        return err;
      },
      [&context](std::uint32_t handle) { return query_queue_pair(context, handle); }};
}

}  // namespace

// Threads besides those of the attachments: the steward notices listeners that hang up, looks
// after the number of receivers, and ends attachments; the watcher runs HolderWatch.
class Interceptor::Impl {
 public:
  Impl(const Parts& parts, InterceptOptions options)
      : services_{parts, std::move(options), InterceptMetrics(parts.registry)},
        watch_(services_),
        dispatcher_(services_, watch_,
                    [this](const Attachment& asking, int own) { return owned(asking, own); }),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    services_.reclaim = [this](const Tenancy& tenancy, bool all_of_vpc) {
      reclaim(everything(), watch_, services_.parts.tasks, tenancy, all_of_vpc);
    };
    watch_descriptor(wake_.get(), EPOLLIN);
    steward_ = std::thread([this] { steward_loop(); });
    watcher_ = std::thread([this] { watcher_loop(); });
  }

  ~Impl() {
    (void)stop(milliseconds(0));
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return attachments_.empty() && ending_.empty(); });
      leave_ = true;
    }
    changed_.notify_all();
    wake();
    steward_.join();
    watcher_.join();
  }

  Status attach(std::unique_ptr<NotificationPort> port, EndpointUid endpoint, pid_t pid,
                std::string command, std::uint64_t kept_below) {
    EndpointPtr local = services_.parts.endpoints.find(endpoint);
    if (!local)
      return fail(Code::kNotFound, "the endpoint is not on this host any more", "endpoint");
    for (char& each : command) {
      if (static_cast<unsigned char>(each) < 0x20 || each == 0x7f) each = '?';
    }
    Attachment::Identity identity{endpoint, local->name, pid,  std::move(command),
                                  0,        nullptr,     false};
    if (Custody* custody = services_.custody()) {
      identity.number = services_.ledger()->next_listener();
      identity.custody =
          custody->put(ListenerTag{identity.number, endpoint, local->name, pid, identity.command},
                       port->descriptor());
    }
    auto attachment = make(std::move(port), identity);
    Status status;
    if (services_.parts.redirector != nullptr && kept_below >= kKeptBelow && kKeptBelow != 0)
      status = seal(services_, *attachment);
    std::unique_lock lock(mutex_);
    if (status && stopped_) {
      status = fail(Code::kFailedPrecondition, "the agent is stopping");
    } else if (status && attachments_.size() >= services_.options.max_attachments) {
      status = fail(Code::kResourceExhausted,
                    "more than " + std::to_string(services_.options.max_attachments) +
                        " programs are attached on this host");
    }
    if (status) {
      record(*attachment, EventType::kAttached, {});
      take_in(attachment, {});
    } else {
      give_up(*attachment);
    }
    return status;
  }

  void restore(Inherited inherited) {
    Ledger& ledger = *services_.ledger();
    std::unordered_map<std::uint64_t, std::vector<CallSlot*>> left;
    std::unordered_map<std::uint64_t, AttachmentPtr> restored;
    for (Inherited::Listener& each : inherited.listeners) {
      left[each.tag.number] = ledger.take_left(each.tag.number);
      restored[each.tag.number] =
          make(std::move(each.port), {each.tag.endpoint, each.tag.endpoint_name, each.tag.pid,
                                      each.tag.command, each.tag.number, each.custody, true});
      reseal(services_, *restored[each.tag.number], each);
    }
    for (Inherited::File& each : inherited.files) {
      const AttachmentPtr& attachment = restored.at(each.tag.listener);
      take_over(services_, *attachment, each, inherited.connections[each.tag.id],
                left[each.tag.listener]);
    }
    // All contexts before the first call: a descriptor may have been passed on.
    for (auto& [number, attachment] : restored) {
      std::lock_guard lock(mutex_);
      record(*attachment, EventType::kRestored, described(*attachment, left[number].size()));
      take_in(attachment, left[number]);
    }
    ledger.forget_left();
  }

  void in_sync() {
    Renamer& renamer = services_.parts.renamer;
    for (const AttachmentPtr& attachment : snapshot()) {
      if (!attachment->restored || services_.parts.endpoints.find(attachment->endpoint)) continue;
      detach(*attachment);
    }
    auto contexts = contexts_by_id();
    for (const QpKey& key : renamer.unadmitted()) {
      auto at = contexts.find(key.context);
      if (at == contexts.end()) continue;
      Context& context = *at->second;
      std::lock_guard lock(context.mutex);
      if (!context.closed) renamer.readmit(context.info, key, hands_on(context));
    }
    // Behind that: a verb finds each connection with what the rules leave of it.
    services_.gate.open();
    enforce({});
  }

  void detach_endpoint(EndpointUid endpoint) {
    for (const AttachmentPtr& attachment : snapshot()) {
      if (attachment->endpoint == endpoint) detach(*attachment);
    }
  }

  void enforce(std::span<const conntrack::Effect> effects) {
    Renamer& renamer = services_.parts.renamer;
    const std::vector<QpKey> barred = renamer.barred_datagrams();
    if (effects.empty() && barred.empty()) return;
    auto contexts = contexts_by_id();
    auto with_context = [&](std::uint64_t id, auto&& act) {
      auto it = contexts.find(id);
      if (it == contexts.end()) return;  // closed: its QPs are gone
      Context& context = *it->second;
      std::lock_guard lock(context.mutex);
      if (!context.closed) act(hands_on(context));
    };
    for (const conntrack::Effect& effect : effects) {
      with_context(effect.connection.key.context,
                   [&](const Hands& hands) { renamer.enforce(effect, hands); });
    }
    for (const QpKey& key : barred)
      with_context(key.context, [&](const Hands& hands) { renamer.bar_datagram(key, hands); });
  }

  void punish(const Violation& violation) {
    services_.metrics.count_violation(violation.what);
    AttachmentPtr guilty;
    std::shared_ptr<Context> context;
    for (const AttachmentPtr& attachment : everything()) {
      for (auto& each : attachment->contexts().all()) {
        if (violation.context == 0 || each->info.id != violation.context) continue;
        guilty = attachment;
        context = std::move(each);
      }
    }
    Event event;
    event.type = EventType::kGuardViolation;
    event.pid = violation.pid;
    event.command = violation.command;
    event.reason = violation.reason;
    if (guilty) {
      event.endpoint = guilty->endpoint_name;
      event.reason += "; " + std::to_string(end_workload(services_, *guilty, context)) +
                      " more processes of the program were ended";
    }
    services_.parts.events.record(std::move(event));
  }

  InterceptStats stats() const {
    InterceptStats out;
    for (const AttachmentInfo& each : list()) {
      ++out.attachments;
      out.contexts += each.contexts;
      out.queue_pairs += each.queue_pairs;
    }
    return out;
  }

  std::vector<AttachmentInfo> list() const {
    std::vector<AttachmentInfo> out;
    for (const AttachmentPtr& attachment : snapshot()) {
      AttachmentInfo info;
      info.endpoint = attachment->endpoint;
      info.endpoint_name = attachment->endpoint_name;
      info.pid = attachment->pid;
      info.command = attachment->command;
      info.receivers = attachment->receivers();
      info.restored = attachment->restored;
      for (const auto& context : attachment->contexts().all()) {
        ++info.contexts;
        info.queue_pairs += context->queue_pairs.size();
      }
      out.push_back(std::move(info));
    }
    return out;
  }

  const InterceptOptions& options() const { return services_.options; }

  bool stop(milliseconds patience, bool leave = false) {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    leaving_ = leaving_ || leave;
    for (const AttachmentPtr& attachment : attachments_)
      begin_end(attachment);
    attachments_.clear();
    lock.unlock();
    wake();
    lock.lock();
    return changed_.wait_for(lock, patience, [&] { return ending_.empty(); });
  }

 private:
  // Takes out of custody what nobody needs any more.
  void give_up(const Attachment& attachment) {
    Custody* custody = services_.custody();
    if (custody == nullptr) return;
    if (attachment.sealed) {
      custody->drop(attachment.sealed->tickets().writable);
      custody->drop(attachment.sealed->tickets().readable);
    }
    custody->drop(attachment.custody);
  }

  AttachmentPtr make(std::unique_ptr<NotificationPort> port, const Attachment::Identity& identity) {
    return std::make_shared<Attachment>(
        services_, std::move(port), identity,
        [this](Attachment& at, const Notification& call, CallSlot* slot) {
          dispatcher_.handle(at, call, slot);
        },
        [this] { note_traffic(); });
  }

  // REQUIRES: mutex_.
  void take_in(const AttachmentPtr& attachment, const std::vector<CallSlot*>& left) {
    services_.metrics.add_attachments(1);
    if (!attachment->sealed) services_.metrics.add_unsealed(1);
    attachment->start(left);
    // Events of no kind: EPOLLHUP comes all the same, and the traps do not wake the steward.
    watch_descriptor(attachment->port().descriptor(), 0);
    attachments_.push_back(attachment);
  }

  static std::string described(const Attachment& attachment, std::size_t calls) {
    std::size_t queue_pairs = 0;
    const auto contexts = attachment.contexts().all();
    for (const auto& context : contexts)
      queue_pairs += context->queue_pairs.size();
    return "the agent was started again: " + std::to_string(contexts.size()) + " devices, " +
           std::to_string(queue_pairs) + " QPs, " + std::to_string(calls) + " calls on their way";
  }

  static void detach(Attachment& attachment) {
    attachment.revoke();
    attachment.bury(attachment.contexts().close(), /*abandoned=*/false);
    attachment.wait_buried();
  }

  std::unordered_map<std::uint64_t, std::shared_ptr<Context>> contexts_by_id() const {
    std::unordered_map<std::uint64_t, std::shared_ptr<Context>> out;
    for (const AttachmentPtr& attachment : snapshot()) {
      for (auto& context : attachment->contexts().all())
        out.emplace(context->info.id, std::move(context));
    }
    return out;
  }

  void watch_descriptor(int descriptor, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = descriptor;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
      spdlog::error("epoll_ctl: {}", std::strerror(errno));
    }
  }

  void wake() {
    std::uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  // Called at each trap. While the steward is awake this is one read of a shared flag.
  void note_traffic() {
    if (!steward_sleeps_.load(std::memory_order_seq_cst)) return;
    if (steward_sleeps_.exchange(false, std::memory_order_acq_rel)) wake();
  }

  std::vector<AttachmentPtr> snapshot() const {
    std::lock_guard lock(mutex_);
    return attachments_;
  }

  // Those that end, too.
  std::vector<AttachmentPtr> everything() const {
    std::lock_guard lock(mutex_);
    std::vector<AttachmentPtr> out = attachments_;
    out.insert(out.end(), ending_.begin(), ending_.end());
    return out;
  }

  bool owned(const Attachment& asking, int own) const {
    for (const AttachmentPtr& attachment : snapshot()) {
      if (attachment.get() != &asking && attachment->contexts().has_file(own)) return true;
    }
    return false;
  }

  void record(const Attachment& attachment, EventType type, std::string reason) {
    Event event;
    event.type = type;
    event.endpoint = attachment.endpoint_name;
    event.pid = attachment.pid;
    event.command = attachment.command;
    event.reason = std::move(reason);
    services_.parts.events.record(std::move(event));
  }

  // REQUIRES: mutex_. The caller takes it out of attachments_.
  void begin_end(const AttachmentPtr& attachment) {
    (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, attachment->port().descriptor(), nullptr);
    attachment->stop();
    // What is left to another agent stays as it is.
    if (!leaving_) attachment->bury(attachment->contexts().close(), /*abandoned=*/false);
    ending_.push_back(attachment);
  }

  void steward_loop() {
    unsigned quiet = 0;
    std::array<epoll_event, kMostHangUps> events{};
    for (;;) {
      const bool sleep = prepare_to_sleep(quiet);
      const int timeout = sleep ? -1 : static_cast<int>(services_.options.stall.count());
      int count = epoll_wait(epoll_.get(), events.data(), kMostHangUps, timeout);
      steward_sleeps_.store(false, std::memory_order_relaxed);
      bool any = false;
      for (int i = 0; i < count; ++i) {
        int descriptor = events[static_cast<std::size_t>(i)].data.fd;
        any = true;
        if (descriptor == wake_.get()) {
          std::uint64_t drained = 0;
          (void)!read(wake_.get(), &drained, sizeof(drained));
        } else {
          hang_up(descriptor);
        }
      }
      auto now = services_.parts.clock.now();
      for (const AttachmentPtr& attachment : snapshot())
        any = attachment->tend(now) || any;
      any = end_attachments() || any;
      quiet = any ? 0 : quiet + 1;
      std::lock_guard lock(mutex_);
      if (leave_) return;
    }
  }

  // True when the steward may wait without end. A trap between this and the wait finds
  // steward_sleeps_ set and makes wake_ readable.
  bool prepare_to_sleep(unsigned quiet) {
    if (quiet < kQuietRounds) return false;
    steward_sleeps_.store(true, std::memory_order_seq_cst);
    std::lock_guard lock(mutex_);
    // A call that counted itself before it could see the flag is seen here.
    return ending_.empty() && !leave_ &&
           std::all_of(attachments_.begin(), attachments_.end(),
                       [](const AttachmentPtr& each) { return each->quiet(); });
  }

  void hang_up(int descriptor) {
    std::lock_guard lock(mutex_);
    auto at = std::find_if(attachments_.begin(), attachments_.end(), [&](const auto& each) {
      return each->port().descriptor() == descriptor;
    });
    if (at == attachments_.end()) return;
    begin_end(*at);
    attachments_.erase(at);
  }

  // Drives those that end; true while there are any.
  bool end_attachments() {
    std::vector<AttachmentPtr> ending;
    {
      std::lock_guard lock(mutex_);
      ending = ending_;
    }
    if (ending.empty()) return false;
    for (AttachmentPtr& attachment : ending) {
      attachment->kick();
      if (!attachment->finished()) continue;
      services_.metrics.add_attachments(-1);
      if (!attachment->sealed) services_.metrics.add_unsealed(-1);
      std::lock_guard lock(mutex_);
      if (!leaving_) {
        record(*attachment, EventType::kDetached, "its last process is gone, or the agent stops");
        give_up(*attachment);
      }
      std::erase(ending_, attachment);
    }
    ending.clear();  // listeners close here, with the last reference
    changed_.notify_all();
    return true;
  }

  void watcher_loop() {
    auto settled = services_.parts.clock.now();
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, services_.options.holder_check, [&] { return leave_; });
        if (leave_) return;
      }
      watch_.round(snapshot());
      const auto now = services_.parts.clock.now();
      if (now - settled < kSettleEvery) continue;
      settled = now;
      settle_all(snapshot(), services_.parts.tasks);
    }
  }

  Services services_;
  HolderWatch watch_;
  Dispatcher dispatcher_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::atomic<bool> steward_sleeps_{false};
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::vector<AttachmentPtr> attachments_;
  std::vector<AttachmentPtr> ending_;
  bool stopped_ = false;
  bool leaving_ = false;  // to the next agent
  bool leave_ = false;
  std::thread steward_;
  std::thread watcher_;
};

Interceptor::Interceptor(const Parts& parts, InterceptOptions options)
    : impl_(std::make_unique<Impl>(parts, std::move(options))) {}
Interceptor::~Interceptor() = default;

Status Interceptor::attach(std::unique_ptr<NotificationPort> port, EndpointUid endpoint, pid_t pid,
                           std::string command, std::uint64_t kept_below) {
  return impl_->attach(std::move(port), endpoint, pid, std::move(command), kept_below);
}
void Interceptor::restore(Inherited inherited) {
  impl_->restore(std::move(inherited));
}
void Interceptor::in_sync() {
  impl_->in_sync();
}
bool Interceptor::leave(milliseconds patience) {
  return impl_->stop(patience, /*leave=*/true);
}
void Interceptor::detach_endpoint(EndpointUid endpoint) {
  impl_->detach_endpoint(endpoint);
}
void Interceptor::enforce(std::span<const conntrack::Effect> effects) {
  impl_->enforce(effects);
}
void Interceptor::punish(const Violation& violation) {
  impl_->punish(violation);
}
InterceptStats Interceptor::stats() const {
  return impl_->stats();
}
std::vector<AttachmentInfo> Interceptor::list() const {
  return impl_->list();
}
const InterceptOptions& Interceptor::options() const {
  return impl_->options();
}
bool Interceptor::stop(milliseconds patience) {
  return impl_->stop(patience);
}

}  // namespace qmasq::vbond
