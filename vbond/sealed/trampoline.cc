// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/trampoline.h"

#include "vbond/sealed/layout.h"

namespace qmasq::vbond::sealed {

#if defined(__x86_64__)

// Position-independent, never executed where it lies here. Behind CopyTable in layout.h are the
// distances from the header.
__asm__(R"(
  .section .rodata
qmasq_trampoline:
  lea -128(%rsp), %rsp
  push %rcx
  push %rdx
  mov %r11, %rdx
qmasq_trampoline_again:
  mov $16, %eax
  syscall
qmasq_trampoline_after:
  lea 4(%rax), %rcx
  jrcxz qmasq_trampoline_again
  mov %rax, %rcx
  jrcxz 2f
1:
  pop %rdx
  pop %rcx
  lea 128(%rsp), %rsp
  jmp *%rcx
2:
  mov -8(%rdx), %rcx
3:
  jrcxz 4f
  lea -1(%rcx), %rcx
  mov -264(%rdx,%rcx,8), %rax
  mov -136(%rdx,%rcx,8), %r11
  push (%rax)
  pop (%r11)
  push 8(%rax)
  pop 8(%r11)
  jmp 3b
4:
  mov $0, %eax
  jmp 1b
qmasq_trampoline_end:
  .text
)");

// NOLINTBEGIN(readability-identifier-naming): symbols of the assembler's
extern "C" {
extern const std::byte qmasq_trampoline[] __attribute__((visibility("hidden")));
extern const std::byte qmasq_trampoline_again[] __attribute__((visibility("hidden")));
extern const std::byte qmasq_trampoline_after[] __attribute__((visibility("hidden")));
extern const std::byte qmasq_trampoline_end[] __attribute__((visibility("hidden")));
}
// NOLINTEND(readability-identifier-naming)

static_assert(kCountAt == 8 && kToAt == 136 && kFromAt == 264);

std::span<const std::byte> trampoline() {
  return {qmasq_trampoline, qmasq_trampoline_end};
}
std::size_t trampoline_again() {
  return static_cast<std::size_t>(qmasq_trampoline_again - qmasq_trampoline);
}
std::size_t trampoline_after() {
  return static_cast<std::size_t>(qmasq_trampoline_after - qmasq_trampoline);
}

#else

std::span<const std::byte> trampoline() {
  return {};
}
std::size_t trampoline_again() {
  return 0;
}
std::size_t trampoline_after() {
  return 0;
}

#endif

}  // namespace qmasq::vbond::sealed
