// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace qmasq::vbond {
namespace {

// A memfd whose size nobody can change: a shorter one would be a SIGBUS to who has it mapped.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : descriptor_(std::move(other.descriptor_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) (void)::munmap(data_, size_);
}

Result<SharedMemory> SharedMemory::map(UniqueFd descriptor, std::size_t size) {
  void* data =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), /*offset=*/0);
  if (data == MAP_FAILED) return fail_errno(errno, "map memory that is to outlive the agent");
  return SharedMemory(std::move(descriptor), static_cast<std::byte*>(data), size);
}

Result<SharedMemory> SharedMemory::create(const std::string& name, std::size_t size) {
  UniqueFd descriptor(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!descriptor.valid()) return fail_errno(errno, "memfd_create");
  if (::ftruncate(descriptor.get(), static_cast<off_t>(size)) != 0)
    return fail_errno(errno, "size a memfd");
  if (::fcntl(descriptor.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno(errno, "seal a memfd");
  return map(std::move(descriptor), size);
}

Result<SharedMemory> SharedMemory::adopt(UniqueFd descriptor, std::size_t least) {
  struct stat status {};
  if (::fcntl(descriptor.get(), F_GET_SEALS) != kSeals || ::fstat(descriptor.get(), &status) != 0 ||
      static_cast<std::size_t>(status.st_size) < least) {
    return fail(Code::kInvalidArgument, "not the memory of an agent");
  }
  return map(std::move(descriptor), static_cast<std::size_t>(status.st_size));
}

}  // namespace qmasq::vbond
