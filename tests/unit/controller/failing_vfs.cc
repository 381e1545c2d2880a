// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controller/failing_vfs.h"

#include <sqlite3.h>

#include <cstdlib>
#include <limits>

namespace qmasq::testing {
namespace {

FailingVfs* current = nullptr;
sqlite3_vfs shim{};

// Our part of a file comes first, the real file's behind it.
struct ShimFile {
  sqlite3_file base;
};
sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<ShimFile*>(file) + 1);
}

int x_close(sqlite3_file* f) {
  return real(f)->pMethods->xClose(real(f));
}
int x_read(sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
  return real(f)->pMethods->xRead(real(f), data, size, at);
}
int x_write(sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
  if (int code = current->next(); code != SQLITE_OK) return code;
  return real(f)->pMethods->xWrite(real(f), data, size, at);
}
int x_truncate(sqlite3_file* f, sqlite3_int64 size) {
  return real(f)->pMethods->xTruncate(real(f), size);
}
int x_sync(sqlite3_file* f, int flags) {
  if (int code = current->next(); code != SQLITE_OK) {
    return code == SQLITE_IOERR_WRITE ? SQLITE_IOERR_FSYNC : code;
  }
  return real(f)->pMethods->xSync(real(f), flags);
}
int x_size(sqlite3_file* f, sqlite3_int64* out) {
  return real(f)->pMethods->xFileSize(real(f), out);
}
int x_lock(sqlite3_file* f, int level) {
  return real(f)->pMethods->xLock(real(f), level);
}
int x_unlock(sqlite3_file* f, int level) {
  return real(f)->pMethods->xUnlock(real(f), level);
}
int x_reserved(sqlite3_file* f, int* out) {
  return real(f)->pMethods->xCheckReservedLock(real(f), out);
}
int x_control(sqlite3_file* f, int op, void* arg) {
  return real(f)->pMethods->xFileControl(real(f), op, arg);
}
int x_sector(sqlite3_file* f) {
  return real(f)->pMethods->xSectorSize(real(f));
}
int x_device(sqlite3_file* f) {
  return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
int x_shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
}
int x_shm_lock(sqlite3_file* f, int offset, int n, int flags) {
  return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}
void x_shm_barrier(sqlite3_file* f) {
  real(f)->pMethods->xShmBarrier(real(f));
}
int x_shm_unmap(sqlite3_file* f, int remove) {
  return real(f)->pMethods->xShmUnmap(real(f), remove);
}

constexpr sqlite3_io_methods kMethods = {
    2,          x_close,       x_read,      x_write,   x_truncate, x_sync,   x_size,
    x_lock,     x_unlock,      x_reserved,  x_control, x_sector,   x_device, x_shm_map,
    x_shm_lock, x_shm_barrier, x_shm_unmap, nullptr,   nullptr,
};

int x_open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* f, int flags, int* out) {
  auto* below = sqlite3_vfs_find("unix");
  f->pMethods = nullptr;
  if (current->read_only_files()) {
    // What the VFS below does itself when the file system refuses a file opened for writing.
    flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
  }
  int code = below->xOpen(below, name, real(f), flags, out);
  if (code == SQLITE_OK) f->pMethods = &kMethods;
  return code;
}

}  // namespace

FailingVfs::FailingVfs() {
  if (current != nullptr) std::abort();
  current = this;
  auto* below = sqlite3_vfs_find("unix");
  shim = *below;
  shim.szOsFile = below->szOsFile + static_cast<int>(sizeof(ShimFile));
  shim.zName = "qmasq-failing";
  shim.xOpen = x_open;
  shim.pNext = nullptr;
  sqlite3_vfs_register(&shim, 0);
}

FailingVfs::~FailingVfs() {
  sqlite3_vfs_unregister(&shim);
  current = nullptr;
}

void FailingVfs::fail_after(int writes, Fault fault) {
  fault_ = fault;
  refused_ = 0;
  left_ = writes;
}

void FailingVfs::heal() {
  left_ = -1;
}

int FailingVfs::next() {
  if (left_ < 0) return SQLITE_OK;
  if (left_ > 0) {
    --left_;
    return SQLITE_OK;
  }
  ++refused_;
  switch (fault_.load()) {
    case Fault::kFull:
      return SQLITE_FULL;
    case Fault::kReadOnly:
      return SQLITE_READONLY;
    case Fault::kIoError:
      break;
  }
  return SQLITE_IOERR_WRITE;
}

}  // namespace qmasq::testing
