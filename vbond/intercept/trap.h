// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "vbond/intercept/attachment.h"
#include "vbond/intercept/metrics.h"
#include "vbond/intercept/services.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/kernel/tenant_memory.h"

namespace qmasq::vbond {

// What a tenant's call gets.
struct Answer {
  enum class How : std::uint8_t {
    kReturn,  // returns `value`, or fails with `err` when it is not 0
    kRun,     // the kernel runs it
    kDone,    // answered already (a descriptor was injected)
    kSent,    // answered already: it makes its call once more
    kGone,    // nobody is there any more
  };
  How how = How::kReturn;
  Outcome outcome = Outcome::kAnswered;
  std::int64_t value = 0;
  int err = 0;

  [[nodiscard]] static Answer returns(std::int64_t value, Outcome outcome) {
    return {How::kReturn, outcome, value, 0};
  }
  [[nodiscard]] static Answer fails(int err, Outcome outcome = Outcome::kFailed) {
    return {How::kReturn, outcome, 0, err};
  }
  [[nodiscard]] static Answer run() { return {How::kRun, Outcome::kPassed, 0, 0}; }
  [[nodiscard]] static Answer done() { return {How::kDone, Outcome::kExecuted, 0, 0}; }
  [[nodiscard]] static Answer sent() { return {How::kSent, Outcome::kPassed, 0, 0}; }
  [[nodiscard]] static Answer gone() { return {How::kGone, Outcome::kGone, 0, 0}; }
};

struct CallSlot;

// A call that is let run, and is withdrawn from its context when nobody is there to run it.
struct Expectation {
  std::shared_ptr<Context> context;
  Flight flight;
};

// Not a verb: an ordinary open or write that happened to be trapped.
inline constexpr std::size_t kNotCounted = static_cast<std::size_t>(-1);

// One trapped call while it is served. On the stack of one receiver.
class Trap {
 public:
  Trap(Services& services_in, Attachment& attachment_in, const Notification& call_in,
       const Notification& received_in, CallSlot* slot_in)
      : services(services_in),
        attachment(attachment_in),
        call(call_in),
        received(received_in),
        slot(slot_in) {}

  Services& services;
  Attachment& attachment;
  // As the program made it.
  const Notification& call;
  // As it came: from the trampoline it has another pointer (sealed_calls.h).
  const Notification& received;
  // Where it is noted for who comes after this agent; null: nowhere.
  CallSlot* const slot;
  // Row of the metrics that the call counts in; settled on the way.
  std::size_t row = kNotCounted;
  // Refused because of a verb rate, or beyond one and not refused because it frees something.
  bool over_rate = false;
  bool unpaid = false;
  Expectation expectation;
  // Type of the QP that the call makes if it is let run; 0: none.
  std::uint32_t qp_type = 0;
  // The guard was told to let this call run on it.
  std::shared_ptr<Context> permitted;

  // The task that was read from is the one that called. After reading and before acting on it,
  // and before writing: ids of tasks are used again.
  [[nodiscard]] bool alive() const { return proved_ || attachment.port().alive(call.id); }
  // What was read so far needs no alive() any more: after the reading, the task with that id was
  // seen to have this attachment's own context open. If the caller is dead and its id used again,
  // then by a process that the program gave its context to: whose words are executed is the
  // program's doing, and nothing goes back, since write() asks for itself. The next read() ends it.
  void prove() { proved_ = true; }
  [[nodiscard]] pid_t tid() const { return call.tid; }
  [[nodiscard]] int read(std::span<const TenantMemory::In> pieces) {
    proved_ = false;
    return services.parts.memory.read(call.tid, pieces);
  }
  [[nodiscard]] int read(std::uint64_t address, std::span<std::byte> bytes) {
    TenantMemory::In piece{address, bytes};
    return read(std::span(&piece, 1));
  }
  // Bytes of the call's surroundings that were copied already. They outlive the trap's decoding.
  void keep(std::uint64_t address, std::span<const std::byte> bytes) {
    kept_address_ = address;
    kept_ = bytes;
  }
  // As read(), but what was kept is not read again: a call's arguments usually lie right behind its
  // header, so that one copy has it all. What is judged is the copy that is executed either way.
  [[nodiscard]] int fetch(std::span<const TenantMemory::In> pieces);
  // ENOENT when the task is gone.
  [[nodiscard]] int write(std::span<const TenantMemory::Out> pieces) const {
    if (!attachment.port().alive(call.id)) return ENOENT;  // proofs get old
    return services.parts.memory.write(call.tid, pieces);
  }

  // A refusal of this folder's own, with its event.
  [[nodiscard]] Answer refuse(std::string_view verb, int err, std::string reason) const;

 private:
  bool proved_ = false;
  std::uint64_t kept_address_ = 0;
  std::span<const std::byte> kept_;
};

}  // namespace qmasq::vbond
