// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/trampoline.h"

#include <gtest/gtest.h>

#include "vbond/sealed/layout.h"

#if defined(__x86_64__)

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace qmasq::vbond::sealed {
namespace {

// The code, run by this very program: with an ioctl() that takes no notice of its argument.
class Trampoline : public ::testing::Test {
 protected:
  struct Result {
    long rax = 0;
    std::uint64_t rdx = 0;
    bool kept = false;  // the red zone, other registers, the flags
  };

  Trampoline() {
    code_ = mmap(nullptr, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
    std::memcpy(code_, trampoline().data(), trampoline().size());
  }
  ~Trampoline() override { (void)munmap(code_, kPage); }

  // As a thread that was sent: rcx where to go on, r11 the header.
  Result run(int fd, unsigned long command, void* header) {
    Result out;
    long rax = 0;
    std::uint64_t rdx = 0x1234;
    long kept = 0;
    __asm__ volatile(
        "mov %[header], %%r11; mov %[code], %%r10; mov $8, %%r8; mov $9, %%r9\n"
        "movq $0x55, -8(%%rsp); movq $0x66, -128(%%rsp)\n"
        "lea 1f(%%rip), %%rcx; stc; jmp *%%r10\n"
        "1: jnc 2f; cmpq $0x55, -8(%%rsp); jne 2f; cmpq $0x66, -128(%%rsp); jne 2f\n"
        "cmp $8, %%r8; jne 2f; cmp $9, %%r9; jne 2f; mov $1, %[kept]; 2:"
        : "=a"(rax), "+d"(rdx), [kept] "+r"(kept)
        : "D"(static_cast<long>(fd)), "S"(command), [header] "r"(header), [code] "r"(code_)
        : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    out.rax = rax;
    out.rdx = rdx;
    out.kept = kept == 1;
    return out;
  }

  void* code_ = nullptr;
};

struct Laid {
  std::array<std::uint64_t, kMostOutputs> from{};
  std::array<std::uint64_t, kMostOutputs> to{};
  std::uint64_t count = 0;
  std::array<std::byte, 24> header{};
};
static_assert(offsetof(Laid, header) - offsetof(Laid, from) == kFromAt);
static_assert(offsetof(Laid, header) - offsetof(Laid, to) == kToAt);

TEST_F(Trampoline, CopiesBackWhatTheKernelWrote) {
  const std::array<std::array<std::uint64_t, 2>, 3> tail{{{1, 2}, {3, 4}, {5, 6}}};
  std::array<std::array<std::uint64_t, 2>, 4> own{};
  Laid laid;
  laid.count = 3;
  const std::array<std::size_t, 3> places{2, 0, 3};
  for (std::size_t i = 0; i < 3; ++i) {
    laid.from[i] = reinterpret_cast<std::uint64_t>(&tail[i]);
    laid.to[i] = reinterpret_cast<std::uint64_t>(&own[places[i]]);
  }
  const int fd = open("/dev/null", O_RDONLY);
  const Result result = run(fd, FIONCLEX, &laid.header);
  close(fd);
  EXPECT_EQ(result.rax, 0);
  EXPECT_EQ(result.rdx, 0x1234U);
  EXPECT_TRUE(result.kept);
  EXPECT_EQ(own[2], tail[0]);
  EXPECT_EQ(own[0], tail[1]);
  EXPECT_EQ(own[3], tail[2]);
  EXPECT_EQ(own[1][0], 0U);
}

TEST_F(Trampoline, LeavesWhatFailedAlone) {
  std::array<std::uint64_t, 2> tail{1, 2};
  std::array<std::uint64_t, 2> own{};
  Laid laid;
  laid.count = 1;
  laid.from[0] = reinterpret_cast<std::uint64_t>(&tail);
  laid.to[0] = reinterpret_cast<std::uint64_t>(&own);
  const Result result = run(-1, FIONCLEX, &laid.header);
  EXPECT_EQ(result.rax, -EBADF);
  EXPECT_EQ(result.rdx, 0x1234U);
  EXPECT_TRUE(result.kept);
  EXPECT_EQ(own[0], 0U);
}

}  // namespace
}  // namespace qmasq::vbond::sealed

#endif
