// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// The few instructions by which a thread of a tenant makes its call once more, with the arguments
// that the agent has sealed. They lie in the first sealed page and run in the tenant, with the
// tenant's rights: nothing is believed because of them.
//
//   on entry   rcx: where the program goes on (right behind its `syscall`), r11: the sealed header;
//              all other registers as the program has them
//   at again   [rsp]: the program's own pointer to its header, [rsp + 8]: where it goes on
//
// What a system call leaves alone it leaves alone too: the flags, the red zone below rsp, rdx. A
// call that a signal interrupted (EINTR) is made again. When it returned 0, the attributes that the
// kernel has written are copied from the slot's tail to where the program has them (CopyTable).
namespace qmasq::vbond::sealed {

// Empty where there is none (any architecture but x86-64).
[[nodiscard]] std::span<const std::byte> trampoline();
// Of its instruction `mov $16,%eax`, from which the call is made with the header in rdx.
[[nodiscard]] std::size_t trampoline_again();
// Behind its `syscall`: the program counter of a thread that is in the call.
[[nodiscard]] std::size_t trampoline_after();

}  // namespace qmasq::vbond::sealed
