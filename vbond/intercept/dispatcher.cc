// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/dispatcher.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "vbond/intercept/executor.h"
#include "vbond/intercept/noted_call.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/sealed_calls.h"
#include "vbond/intercept/turn.h"
#include "vbond/survival/ledger.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/doorbell.h"

namespace qmasq::vbond {
namespace {

// A descriptor argument is an unsigned int to the kernel, whatever the upper half says.
int descriptor_of(std::uint64_t argument) {
  return static_cast<int>(static_cast<std::uint32_t>(argument));
}

constexpr std::uint64_t kPageSize = 4096;  // the smallest there is

}  // namespace

void Dispatcher::handle(Attachment& attachment, const Notification& received, CallSlot* slot) {
  const Clock& clock = services_.parts.clock;
  auto start = clock.now();
  if (attachment.condemned()) {
    end_caller(attachment, received);
    return;
  }
  SealedCalls* sealed = attachment.sealed.get();
  std::optional<unsigned> sent;  // its slot
  if (sealed != nullptr && received.nr == SYS_ioctl) sent = sealed->claim(received);
  Notification call = received;
  if (!sent) {
    attachment.flights.landed(call.tid);
    if (sealed != nullptr) {
      sealed->landed(call.tid);
      if (call.nr == SYS_ioctl) {
        auto made = sealed->as_made(services_.parts.memory, attachment.port(), received);
        if (!made) {
          (void)attachment.port().answer(call.id, 0, EFAULT);
          return;
        }
        call = *made;
      }
    }
  }
  Trap trap(services_, attachment, call, received, slot);
  std::optional<Answer> finished;
  if (slot != nullptr) finished = finish_noted(trap);
  Answer answer = finished ? *finished : (sent ? serve_sent(trap, *sent) : serve(trap));
  if (trap.over_rate || (trap.unpaid && answer.err != 0)) {
    const auto refused = clock.now();
    attachment.brake.wait(attachment.brake.refused(refused));
    start += clock.now() - refused;  // the metrics are about serving
  }
  if (slot != nullptr) services_.ledger()->pass(Ledger::Point::kCopiedBack);
  int err = 0;
  switch (answer.how) {
    case Answer::How::kReturn:
      err = attachment.port().answer(call.id, answer.value, answer.err);
      break;
    case Answer::How::kRun:
      err = attachment.port().let_run(call.id);
      if (err != 0 && trap.permitted) (void)services_.guard().withdraw(trap.permitted->slot);
      break;
    case Answer::How::kDone:
    case Answer::How::kSent:
    case Answer::How::kGone:
      break;
  }
  const bool goes_on = answer.how == Answer::How::kRun || answer.how == Answer::How::kSent;
  if (trap.expectation.context && (!goes_on || err != 0)) {
    Context& context = *trap.expectation.context;
    std::lock_guard lock(context.mutex);
    context.inventory.withdraw(trap.expectation.flight);
  }
  if (slot != nullptr) services_.ledger()->pass(Ledger::Point::kAnswered);
  if (trap.row == kNotCounted) return;
  // ENOENT: killed, or interrupted where the kernel has no WAIT_KILLABLE_RECV. What the agent
  // executed stays done, as if the signal had come right after the call.
  if (err != 0) answer.outcome = Outcome::kGone;
  services_.metrics.count(trap.row, answer.outcome, clock.now() - start);
}

void Dispatcher::end_caller(Attachment& attachment, const Notification& call) {
  TaskInspector& tasks = services_.parts.tasks;
  auto pid = tasks.process_of(call.tid);
  if (pid && tasks.end(*pid, [&] { return attachment.port().alive(call.id); }) == 0) return;
  (void)attachment.port().answer(call.id, 0, EPERM);
}

Answer Dispatcher::serve_sent(Trap& trap, unsigned slot) {
  SealedCalls& sealed = *trap.attachment.sealed;
  auto context = context_of(trap, descriptor_of(trap.call.args[0]));
  if (context) return sealed.land(trap, **context, slot);
  sealed.free(slot);
  return context.error() == ESRCH ? Answer::gone() : Answer::fails(context.error());
}

Answer Dispatcher::serve(Trap& trap) {
  switch (trap.call.nr) {
    case SYS_ioctl:
      return serve_ioctl(trap);
    case SYS_write:
      return serve_write(trap);
    default:
      return serve_open(trap);
  }
}

ErrnoOr<std::shared_ptr<Context>> Dispatcher::context_of(Trap& trap, int fd) {
  auto found = trap.attachment.contexts().find(trap.tid(), fd);
  if (found || found.error() != ENOENT) return found;
  // Its contexts are out of the table then.
  if (trap.attachment.revoked() || trap.attachment.stopping()) return tl::unexpected(ENODEV);
  auto device = services_.parts.tasks.device_of(trap.tid(), fd);
  if (!device) return tl::unexpected(device.error());
  if (*device == 0) return tl::unexpected(ENOTTY);
  std::string node = services_.parts.devices.node_of(*device);
  if (node.empty()) return tl::unexpected(ENOTTY);
  return adopt(trap, fd, node);
}

Answer Dispatcher::serve_ioctl(Trap& trap) {
  trap.row = InterceptMetrics::row(OtherCall::kUndecodable);
  // Header and attributes in one read in nearly all cases: the largest common call has 14
  // attributes. libibverbs has the arguments of a verb in the frames right above its header, so
  // they often come with it. The read must not touch a page that the call itself does not reach.
  const std::uint64_t address = trap.call.args[2];
  std::array<std::byte, uverbs::kMaxCallSize> bytes;
  constexpr std::size_t kUsual = 512;
  const std::uint64_t to_page_end = kPageSize - address % kPageSize;
  std::size_t have = std::max(
      uverbs::kHeaderSize, static_cast<std::size_t>(std::min<std::uint64_t>(kUsual, to_page_end)));
  const int unread = trap.read(address, std::span(bytes).first(have));

  // After the read, since the look at the descriptor tells of the task as well (Trap::prove); its
  // errors come first, as in the kernel.
  auto context = context_of(trap, descriptor_of(trap.call.args[0]));
  if (!context) {
    if (context.error() == ESRCH) return Answer::gone();
    if (context.error() == EAGAIN) return over_rate();
    if (context.error() != ENOENT) return Answer::fails(context.error());
    trap.row = InterceptMetrics::row(OtherCall::kForeign);
    return trap.refuse(to_string(OtherCall::kForeign), EOPNOTSUPP,
                       "a verbs device that was not opened by this program's own endpoint");
  }
  // A call that nobody could make sense of is a call all the same.
  auto senseless = [&](int err) {
    if (!admit(trap, to_string(OtherCall::kUndecodable), {qos::VerbKind::kVerbs}))
      return over_rate();
    return Answer::fails(err);
  };
  if (unread != 0) return unread == ESRCH ? Answer::gone() : senseless(unread);
  trap.prove();

  auto header = uverbs::decode_header(std::span(bytes).first(have));
  if (!header) return senseless(header.error());
  if (header->length > have) {
    int err = trap.read(address + have, std::span(bytes).subspan(have, header->length - have));
    if (err != 0) return senseless(err);
    have = header->length;
  }
  trap.keep(address, std::span(bytes).first(have));
  auto call = uverbs::decode_call(std::span<const std::byte>(bytes).first(header->length));
  if (!call) return senseless(call.error());
  const uverbs::Verb* verb = uverbs::find_verb(*call);
  trap.row = InterceptMetrics::row(*verb);
  return serve_verb(trap, **context, *call, *verb);
}

Answer Dispatcher::serve_write(Trap& trap) {
  auto context = context_of(trap, descriptor_of(trap.call.args[0]));
  if (context) return ring(trap, **context);
  switch (context.error()) {
    case ESRCH:
      return Answer::gone();
    case EBADF:
    case ENOTTY:
      // Some file that has come to sit on a reserved number, or none. Should a verbs device take
      // its place before the call runs, the kernel refuses the write by itself.
      return Answer::run();
    case ENOENT:
      // The kernel's answer, since the tenant did not open it.
      trap.row = InterceptMetrics::row(OtherCall::kForeign);
      return Answer::fails(EACCES, Outcome::kRefused);
    default:
      trap.row = InterceptMetrics::row(OtherCall::kWrite);
      return Answer::fails(context.error(), Outcome::kRefused);
  }
}

Answer Dispatcher::ring(Trap& trap, Context& context) {
  trap.row = InterceptMetrics::row(OtherCall::kWrite);
  const std::uint64_t address = trap.call.args[1];
  const std::uint64_t size = trap.call.args[2];
  if (!context.software) {
    return trap.refuse("WRITE", EOPNOTSUPP, "verbs by write() are not offered");
  }
  std::array<std::byte, uverbs::kDoorbellSize> bytes;
  auto copy =
      std::span(bytes).first(static_cast<std::size_t>(std::min<std::uint64_t>(size, bytes.size())));
  if (int err = trap.read(address, copy); err != 0) return Answer::fails(err);
  auto doorbell = uverbs::decode_doorbell(copy, size);
  if (!doorbell) {
    if (doorbell.error() != EOPNOTSUPP) return Answer::fails(doorbell.error());
    return trap.refuse("WRITE", EOPNOTSUPP, "verbs by write() are not offered");
  }
  trap.row = InterceptMetrics::row(OtherCall::kDoorbell);
  if (!trap.alive()) return Answer::gone();
  if (services_.guard().state(context.slot).condemned)
    return Answer::fails(ENODEV, Outcome::kRefused);
  // Not under context.mutex: nothing is decided here, and a doorbell must not wait for a verb.
  auto call =
      uverbs::ring_call(doorbell->qp_handle, context.driver_id.load(std::memory_order_relaxed));
  auto sealed = call.seal();
  if (!sealed) return Answer::fails(sealed.error());
  auto rung = context.file->call(sealed->data());
  if (!rung) return Answer::fails(rung.error());
  TenantMemory::Out response{doorbell->response, call.out(uverbs::attr::kCoreOut)};
  if (int err = trap.write(std::span(&response, 1)); err != 0) {
    return err == ENOENT ? Answer::gone() : Answer::fails(err);
  }
  return Answer::returns(static_cast<std::int64_t>(size), Outcome::kExecuted);
}

}  // namespace qmasq::vbond
