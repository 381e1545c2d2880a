// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/sealed_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vbond/sealed/trampoline.h"

namespace qmasq::vbond::sealed {
namespace {

// At the end of the code page, which tenants can read.
constexpr std::array<char, 8> kMagic = {'q', 'm', 's', 'e', 'a', 'l', '0', '1'};
constexpr std::size_t kMagicAt = kPage - kMagic.size();

// Another opening of `name` in `folder`, whose mount is read-only and attached nowhere.
Result<UniqueFd> open_readable(const std::string& folder, const char* name) {
  UniqueFd mount(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, folder.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!mount.valid()) return fail_errno(errno, "open_tree " + folder);
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
  wanted.attr_clr = MOUNT_ATTR_NOEXEC;
  if (syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &wanted, sizeof(wanted)) != 0)
    return fail_errno(errno, "mount_setattr");
  UniqueFd out(openat(mount.get(), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!out.valid()) return fail_errno(errno, "open sealed memory for reading");
  return out;
}

}  // namespace

Result<std::unique_ptr<SealedMemory>> SealedMemory::create(const std::string& folder) {
  if (trampoline().empty())
    return fail(Code::kUnsupported, "sealed arguments: not on this architecture");
  struct statfs where {};
  if (statfs(folder.c_str(), &where) != 0) return fail_errno(errno, "statfs " + folder);
  if (where.f_type != TMPFS_MAGIC)
    return fail(Code::kUnsupported, "sealed arguments: " + folder + " is not on a tmpfs");
  std::string path = folder + "/.sealed-XXXXXX";
  UniqueFd writable(mkostemp(path.data(), O_CLOEXEC));
  if (!writable.valid()) return fail_errno(errno, "create " + path);
  auto readable = open_readable(folder, path.c_str() + folder.size() + 1);
  (void)unlink(path.c_str());
  if (!readable) return tl::unexpected(std::move(readable).error());
  if (ftruncate(writable.get(), kFileSize) != 0) return fail_errno(errno, "size sealed memory");
  std::unique_ptr<SealedMemory> out(new SealedMemory);
  QMASQ_TRY(out->map(std::move(writable), std::move(*readable)));
  std::ranges::copy(trampoline(), out->bytes_);
  std::memcpy(out->bytes_ + kMagicAt, kMagic.data(), kMagic.size());
  return out;
}

Result<std::unique_ptr<SealedMemory>> SealedMemory::adopt(UniqueFd writable, UniqueFd readable) {
  std::unique_ptr<SealedMemory> out(new SealedMemory);
  QMASQ_TRY(out->map(std::move(writable), std::move(readable)));
  const auto code = trampoline();
  if (std::memcmp(out->bytes_ + kMagicAt, kMagic.data(), kMagic.size()) != 0 ||
      !std::equal(code.begin(), code.end(), out->bytes_)) {
    return fail(Code::kInvalidArgument, "sealed memory of another version of the agent");
  }
  return out;
}

SealedMemory::~SealedMemory() {
  if (bytes_ != nullptr) (void)munmap(bytes_, kFileSize);
}

Status SealedMemory::map(UniqueFd writable, UniqueFd readable) {
  struct stat one {};
  struct stat other {};
  if (fstat(writable.get(), &one) != 0 || fstat(readable.get(), &other) != 0 ||
      one.st_ino != other.st_ino || one.st_dev != other.st_dev ||
      one.st_size != static_cast<off_t>(kFileSize)) {
    return fail(Code::kInvalidArgument, "not sealed memory of an agent");
  }
  void* bytes =
      mmap(nullptr, kFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, writable.get(), /*offset=*/0);
  if (bytes == MAP_FAILED) return fail_errno(errno, "map sealed memory");
  bytes_ = static_cast<std::byte*>(bytes);
  identity_ = {one.st_dev, one.st_ino};
  writable_ = std::move(writable);
  readable_ = std::move(readable);
  return {};
}

void SealedMemory::write(const LaidCall& call) {
  std::ranges::copy(call.page(), bytes_ + (slot_page(call.slot()) - kBase));
}

// The header first and last the task: whoever dies in between has let nothing run.
void SealedMemory::note(unsigned slot, const Note& note) {
  std::byte* at = bytes_ + (tail_page(slot) - kBase);
  std::atomic_ref<std::uint64_t> task(*reinterpret_cast<std::uint64_t*>(at));
  task.store(0, std::memory_order_release);
  std::memcpy(at + sizeof(std::uint64_t), &note.header, sizeof(note.header));
  task.store(static_cast<std::uint64_t>(note.tid), std::memory_order_release);
}

SealedMemory::Note SealedMemory::note(unsigned slot) const {
  std::byte* at = bytes_ + (tail_page(slot) - kBase);
  Note out;
  out.tid = static_cast<pid_t>(
      std::atomic_ref(*reinterpret_cast<std::uint64_t*>(at)).load(std::memory_order_acquire));
  std::memcpy(&out.header, at + sizeof(std::uint64_t), sizeof(out.header));
  return out;
}

}  // namespace qmasq::vbond::sealed
