// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/fuzz/intercept_script/script.h"
#include "tests/support/fake_kernel.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::fuzz {

// An ioctl(RDMA_VERBS_IOCTL) as a tenant lays it out in its memory: a right one, and then one thing
// wrong with it.
class Draft {
 public:
  static Draft ioctl(std::uint16_t object, std::uint16_t method);
  static Draft ioctl(vbond::uverbs::Object object, std::uint16_t method) {
    return ioctl(static_cast<std::uint16_t>(object), method);
  }
  // `command` with kWriteExtended where it is one.
  static Draft write(std::uint32_t command);
  // The verb with its attributes as the table has them; optional ones, handles and payloads come
  // from the step.
  static Draft of(const vbond::uverbs::Verb& verb, const Step& step);

  Draft& in(std::uint16_t id, std::span<const std::byte> payload);
  Draft& number(std::uint16_t id, std::uint64_t value, std::uint16_t size = 8);
  Draft& handle(std::uint16_t id, std::uint64_t handle) { return number(id, handle, 0); }
  Draft& out(std::uint16_t id, std::size_t size);

  // One thing wrong when it is placed: `kind` says what, `at` where, `value` what is there instead.
  void twist(std::uint8_t kind, std::uint8_t at, std::uint32_t value);
  [[nodiscard]] bool twisted() const { return twisted_; }

  // Into memory of the process; the address of the header. `scattered`: every payload apart, right
  // before a page that is not there; else all in one piece, as libibverbs has it on its stack.
  std::uint64_t place(test::FakeKernel& kernel, pid_t process, bool scattered);

  std::uint32_t driver_id = 0;

 private:
  struct Attribute {
    std::uint16_t id = 0;
    std::uint16_t len = 0;
    std::uint64_t data = 0;
    std::vector<std::byte> payload;
    bool pointer = false;
  };
  void spoil(std::span<std::byte> header, std::uint64_t address) const;

  std::uint16_t object_ = 0;
  std::uint16_t method_ = 0;
  std::vector<Attribute> attributes_;
  bool twisted_ = false;
  std::uint8_t twist_kind_ = 0;
  std::uint8_t twist_at_ = 0;
  std::uint32_t twist_value_ = 0;
};

}  // namespace qmasq::fuzz
