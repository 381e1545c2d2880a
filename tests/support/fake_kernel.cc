// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_kernel.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace qmasq::test {

using vbond::ErrnoOr;
using vbond::Notification;

FakeKernel::FakeKernel() = default;
FakeKernel::~FakeKernel() = default;

// The agent's descriptor of a verbs file.
class FakeKernel::File final : public vbond::VerbsFile {
 public:
  File(FakeKernel& kernel, std::uint64_t file, UniqueFd own)
      : kernel_(kernel), file_(file), own_(std::move(own)) {
    ++kernel_.agent_files_;  // whoever makes it holds the lock
  }
  ~File() override {
    std::lock_guard lock(kernel_.mutex_);
    --kernel_.agent_files_;
    kernel_.own_.erase(own_.get());
    kernel_.drop(file_);
  }
  int descriptor() const override { return own_.get(); }
  ErrnoOr<int> call(void* header) override { return kernel_.nic.call(file_, header); }

 private:
  FakeKernel& kernel_;
  const std::uint64_t file_;
  UniqueFd own_;
};

class FakeKernel::Port final : public vbond::NotificationPort {
 public:
  Port(FakeKernel& kernel, std::shared_ptr<Listener> listener)
      : kernel_(kernel), listener_(std::move(listener)) {}

  ErrnoOr<Notification> receive(vbond::NotificationSpace& space) override {
    space.clear();
    std::unique_lock lock(kernel_.mutex_);
    for (;;) {
      if (listener_->kicked.erase(pthread_self()) != 0) return tl::unexpected(EINTR);
      if (!listener_->queue.empty()) {
        Notification call = listener_->queue.front();
        listener_->queue.pop_front();
        if (!kernel_.calls_.contains(call.id)) return tl::unexpected(ENOENT);
        space.write(call);
        return call;
      }
      if (listener_->hung_up) return tl::unexpected(ENOENT);
      listener_->arrived.wait(lock);
    }
  }
  void kick(pthread_t receiver) override {
    std::lock_guard lock(kernel_.mutex_);
    listener_->kicked.insert(receiver);
    listener_->arrived.notify_all();
  }
  bool alive(std::uint64_t id) override {
    std::lock_guard lock(kernel_.mutex_);
    return kernel_.calls_.contains(id);
  }
  int answer(std::uint64_t id, std::int64_t value, int err) override {
    return finish(id, {CallResult::How::kReturned, err != 0 ? 0 : value, err});
  }
  int let_run(std::uint64_t id) override { return finish(id, {CallResult::How::kRan, 0, 0}); }
  int inject(std::uint64_t id, int fd, int number, bool close_on_exec) override {
    if (int err = place(id, fd, number, close_on_exec); err != 0) return err;
    return finish(id, {CallResult::How::kReturned, number, 0});
  }
  int place(std::uint64_t id, int fd, int number, bool) override {
    std::lock_guard lock(kernel_.mutex_);
    if (kernel_.fail_inject_ != 0) return std::exchange(kernel_.fail_inject_, 0);
    auto call = kernel_.calls_.find(id);
    if (call == kernel_.calls_.end()) return nobody(id);
    Process& process = *kernel_.process_of_task(call->second);
    if (static_cast<std::size_t>(number) >= process.open_files_limit) return EBADF;
    auto own = kernel_.own_.find(fd);
    if (own == kernel_.own_.end()) return EBADF;
    if (auto old = process.table.find(number); old != process.table.end()) {
      kernel_.drop(old->second);
    }
    process.table[number] = own->second;
    ++kernel_.files_[own->second].references;
    return 0;
  }
  ErrnoOr<int> place_lowest(std::uint64_t id, int fd) override {
    std::lock_guard lock(kernel_.mutex_);
    if (kernel_.fail_inject_ != 0) return tl::unexpected(std::exchange(kernel_.fail_inject_, 0));
    auto call = kernel_.calls_.find(id);
    if (call == kernel_.calls_.end()) return tl::unexpected(nobody(id));
    if (::fcntl(fd, F_GETFD) < 0) return tl::unexpected(EBADF);
    Process& process = *kernel_.process_of_task(call->second);
    int number = 0;
    while (process.table.contains(number))
      ++number;
    if (static_cast<std::size_t>(number) >= process.open_files_limit) return tl::unexpected(EMFILE);
    // Of the kernel's making, and of no device.
    const std::uint64_t file = kernel_.next_file_++;
    kernel_.files_[file] = {0, 1};
    process.table[number] = file;
    return number;
  }
  bool pending() override {
    std::lock_guard lock(kernel_.mutex_);
    return !listener_->queue.empty();
  }
  bool hung_up() override {
    std::lock_guard lock(kernel_.mutex_);
    return listener_->hung_up;
  }
  int descriptor() const override { return listener_->read_end.get(); }

 private:
  // REQUIRES: mutex_.
  int nobody(std::uint64_t id) {
    auto at = kernel_.results_.find(id);
    if (at != kernel_.results_.end() && at->second.how != CallResult::How::kGone)
      ++kernel_.double_answers_;
    return ENOENT;
  }
  int finish(std::uint64_t id, CallResult result) {
    std::lock_guard lock(kernel_.mutex_);
    if (kernel_.calls_.erase(id) == 0) return nobody(id);
    kernel_.results_[id] = result;
    kernel_.answered_.notify_all();
    return 0;
  }
  FakeKernel& kernel_;
  std::shared_ptr<Listener> listener_;
};

// --- tenants ---

pid_t FakeKernel::add_process(const std::string& command, std::size_t open_files_limit) {
  std::lock_guard lock(mutex_);
  pid_t pid = next_pid_++;
  Process& process = processes_[pid];
  process.command = command;
  process.open_files_limit = open_files_limit;
  tasks_[pid] = pid;
  return pid;
}

pid_t FakeKernel::add_thread(pid_t process) {
  std::lock_guard lock(mutex_);
  pid_t tid = next_pid_++;
  tasks_[tid] = process;
  return tid;
}

pid_t FakeKernel::fork(pid_t process) {
  std::lock_guard lock(mutex_);
  pid_t pid = next_pid_++;
  processes_[pid] = processes_.at(process);
  processes_[pid].parent = process;
  tasks_[pid] = pid;
  for (const auto& [fd, file] : processes_[pid].table)
    ++files_[file].references;
  return pid;
}

void FakeKernel::die(pid_t pid) {
  auto at = processes_.find(pid);
  if (at == processes_.end()) return;
  for (const auto& [fd, file] : at->second.table)
    drop(file);
  processes_.erase(at);
  for (auto call = calls_.begin(); call != calls_.end();) {
    if (tasks_[call->second] == pid) {
      results_[call->first] = {CallResult::How::kGone, 0, 0};
      call = calls_.erase(call);
    } else {
      ++call;
    }
  }
  std::erase_if(tasks_, [&](const auto& each) { return each.second == pid; });
  answered_.notify_all();
}

void FakeKernel::exit(pid_t process) {
  std::lock_guard lock(mutex_);
  die(process);
}

void FakeKernel::drop(std::uint64_t file) {
  auto at = files_.find(file);
  if (at == files_.end() || --at->second.references != 0) return;
  bool verbs = at->second.device == kVerbsDevice;
  files_.erase(at);
  if (verbs) nic.release(file);
}

int FakeKernel::open_file(pid_t process, int fd, dev_t device) {
  std::lock_guard lock(mutex_);
  std::uint64_t file = next_file_++;
  files_[file] = {device, 1};
  processes_.at(process).table[fd] = file;
  return fd;
}

int FakeKernel::dup_to(pid_t process, int fd, int to) {
  std::lock_guard lock(mutex_);
  auto& table = processes_.at(process).table;
  if (auto old = table.find(to); old != table.end()) drop(old->second);
  ++files_.at(table.at(fd)).references;
  return table[to] = table.at(fd), to;
}

int FakeKernel::close_fd(pid_t process, int fd) {
  std::lock_guard lock(mutex_);
  auto& table = processes_.at(process).table;
  auto at = table.find(fd);
  if (at == table.end()) return EBADF;
  drop(at->second);
  table.erase(at);
  return 0;
}

void FakeKernel::pass_fd(pid_t from, int fd, pid_t to, int as) {
  std::lock_guard lock(mutex_);
  std::uint64_t file = processes_.at(from).table.at(fd);
  ++files_.at(file).references;
  processes_.at(to).table[as] = file;
}

std::uint64_t FakeKernel::map(pid_t pid, std::span<const std::byte> bytes) {
  std::lock_guard lock(mutex_);
  Process& process = processes_.at(pid);
  constexpr std::uint64_t kPage = 4096;
  std::uint64_t pages = (bytes.size() + kPage - 1) / kPage + 1;
  std::uint64_t address = process.next_address + (pages - 1) * kPage - bytes.size();
  process.next_address += pages * kPage;
  process.memory[address] = {bytes.begin(), bytes.end()};
  return address;
}

std::uint64_t FakeKernel::map(pid_t process, std::size_t size) {
  return map(process, std::vector<std::byte>(size));
}

void FakeKernel::map_at(pid_t process, std::uint64_t address, std::span<const std::byte> bytes) {
  std::lock_guard lock(mutex_);
  processes_.at(process).memory[address] = {bytes.begin(), bytes.end()};
}

std::byte* FakeKernel::locate(Process& process, std::uint64_t address, std::size_t size,
                              std::size_t& have) {
  have = 0;
  auto at = process.memory.upper_bound(address);
  if (at == process.memory.begin()) return nullptr;
  --at;
  std::uint64_t offset = address - at->first;
  if (offset >= at->second.size()) return nullptr;
  have = std::min<std::size_t>(size, at->second.size() - offset);
  return at->second.data() + offset;
}

std::vector<std::byte> FakeKernel::peek(pid_t pid, std::uint64_t address, std::size_t size) {
  std::lock_guard lock(mutex_);
  std::size_t have = 0;
  std::byte* from = locate(processes_.at(pid), address, size, have);
  return {from, from + have};
}

void FakeKernel::poke(pid_t pid, std::uint64_t address, std::span<const std::byte> bytes) {
  std::lock_guard lock(mutex_);
  std::size_t have = 0;
  std::byte* to = locate(processes_.at(pid), address, bytes.size(), have);
  std::copy_n(bytes.begin(), have, to);
}

void FakeKernel::unmap(pid_t pid, std::uint64_t address) {
  std::lock_guard lock(mutex_);
  auto process = processes_.find(pid);
  if (process == processes_.end()) return;
  auto& memory = process->second.memory;
  auto at = memory.upper_bound(address);
  if (at == memory.begin()) return;
  --at;
  if (address - at->first < at->second.size()) memory.erase(at);
}

// --- traps ---

std::unique_ptr<vbond::NotificationPort> FakeKernel::listen(pid_t process) {
  std::lock_guard lock(mutex_);
  auto listener = std::make_shared<Listener>();
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return nullptr;
  listener->read_end.reset(ends[0]);
  listener->write_end.reset(ends[1]);
  listeners_[process] = listener;
  processes_.at(process).listener = process;
  return std::make_unique<Port>(*this, listener);
}

Notification FakeKernel::make_trap(pid_t tid, int nr, std::span<const std::uint64_t> args) {
  std::lock_guard lock(mutex_);
  Notification call;
  call.id = next_call_++;
  call.tid = tid;
  call.nr = nr;
  std::copy_n(args.begin(), std::min(args.size(), call.args.size()), call.args.begin());
  calls_[call.id] = tid;
  return call;
}

void FakeKernel::post(const Notification& call) {
  std::lock_guard lock(mutex_);
  auto& listener = *listeners_.at(processes_.at(tasks_.at(call.tid)).listener);
  listener.queue.push_back(call);
  listener.arrived.notify_all();
}

std::optional<CallResult> FakeKernel::result(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  auto at = results_.find(id);
  if (at == results_.end()) return std::nullopt;
  return at->second;
}

CallResult FakeKernel::wait(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [&] { return results_.contains(id); });
  return results_.at(id);
}

void FakeKernel::hang_up(pid_t process) {
  std::lock_guard lock(mutex_);
  auto& listener = *listeners_.at(process);
  listener.hung_up = true;
  listener.write_end.reset();
  listener.arrived.notify_all();
}

// --- switches ---

void FakeKernel::fail_next_open(int err) {
  std::lock_guard lock(mutex_);
  fail_open_ = err;
}
void FakeKernel::fail_next_inject(int err) {
  std::lock_guard lock(mutex_);
  fail_inject_ = err;
}
void FakeKernel::fail_next_read(int err) {
  std::lock_guard lock(mutex_);
  fail_read_ = err;
}
void FakeKernel::die_after_next_read() {
  std::lock_guard lock(mutex_);
  die_after_read_ = true;
}

std::size_t FakeKernel::open_verbs_files() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(files_.begin(), files_.end(), [](const auto& each) {
    return each.second.device == kVerbsDevice;
  }));
}

std::uint64_t FakeKernel::file_of(pid_t process, int fd) const {
  std::lock_guard lock(mutex_);
  const auto& table = processes_.at(process).table;
  auto at = table.find(fd);
  return at == table.end() ? 0 : at->second;
}

unsigned FakeKernel::holder_searches() const {
  std::lock_guard lock(mutex_);
  return holder_searches_;
}

std::size_t FakeKernel::agent_descriptors() const {
  std::lock_guard lock(mutex_);
  return agent_files_;
}

std::uint64_t FakeKernel::file_behind(int own) const {
  std::lock_guard lock(mutex_);
  auto at = own_.find(own);
  return at == own_.end() ? 0 : at->second;
}

unsigned FakeKernel::double_answers() const {
  std::lock_guard lock(mutex_);
  return double_answers_;
}

// --- TenantMemory ---

FakeKernel::Process* FakeKernel::process_of_task(pid_t tid) {
  auto task = tasks_.find(tid);
  if (task == tasks_.end()) return nullptr;
  auto at = processes_.find(task->second);
  return at == processes_.end() ? nullptr : &at->second;
}

int FakeKernel::read(pid_t tid, std::span<const In> pieces) {
  if (before_read) {
    if (int err = before_read(tid); err != 0) return err;
  }
  std::lock_guard lock(mutex_);
  if (fail_read_ != 0) return std::exchange(fail_read_, 0);
  if (pieces.size() > kMaxPieces) return EINVAL;
  Process* process = process_of_task(tid);
  if (process == nullptr) return ESRCH;
  for (const In& piece : pieces) {
    std::size_t have = 0;
    std::byte* from = locate(*process, piece.address, piece.bytes.size(), have);
    if (have != piece.bytes.size()) return EFAULT;
    if (have != 0) std::memcpy(piece.bytes.data(), from, have);
  }
  if (std::exchange(die_after_read_, false)) die(tasks_.at(tid));
  return 0;
}

int FakeKernel::write(pid_t tid, std::span<const Out> pieces) {
  if (before_write) {
    if (int err = before_write(tid, pieces); err != 0) return err;
  }
  std::lock_guard lock(mutex_);
  if (pieces.size() > kMaxPieces) return EINVAL;
  Process* process = process_of_task(tid);
  if (process == nullptr) return ESRCH;
  for (const Out& piece : pieces) {
    std::size_t have = 0;
    std::byte* to = locate(*process, piece.address, piece.bytes.size(), have);
    if (have != 0) std::memcpy(to, piece.bytes.data(), have);
    if (have != piece.bytes.size()) return EFAULT;
  }
  return 0;
}

ErrnoOr<std::size_t> FakeKernel::read_some(pid_t tid, std::uint64_t address,
                                           std::span<std::byte> bytes) {
  if (before_read) {
    if (int err = before_read(tid); err != 0) return tl::unexpected(err);
  }
  std::lock_guard lock(mutex_);
  Process* process = process_of_task(tid);
  if (process == nullptr) return tl::unexpected(ESRCH);
  std::size_t have = 0;
  std::byte* from = locate(*process, address, bytes.size(), have);
  if (from == nullptr) return tl::unexpected(EFAULT);
  std::memcpy(bytes.data(), from, have);
  return have;
}

// --- VerbsDevices ---

UniqueFd FakeKernel::own_descriptor(std::uint64_t file) {
  // A real descriptor, so that numbers are unique and closing is safe; what it is does not matter.
  UniqueFd own(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  own_[own.get()] = file;
  return own;
}

ErrnoOr<std::unique_ptr<vbond::VerbsFile>> FakeKernel::open(std::string_view node, int) {
  std::lock_guard lock(mutex_);
  if (fail_open_ != 0) return tl::unexpected(std::exchange(fail_open_, 0));
  if (node != "uverbs0") return tl::unexpected(ENOENT);
  std::uint64_t file = next_file_++;
  files_[file] = {kVerbsDevice, 1};
  return std::make_unique<File>(*this, file, own_descriptor(file));
}

ErrnoOr<std::unique_ptr<vbond::VerbsFile>> FakeKernel::adopt(UniqueFd fd) {
  std::lock_guard lock(mutex_);
  auto at = own_.find(fd.get());
  if (at == own_.end()) return tl::unexpected(EBADF);
  ++files_.at(at->second).references;
  return std::make_unique<File>(*this, at->second, std::move(fd));
}

std::string FakeKernel::node_of(dev_t device) {
  return device == kVerbsDevice ? "uverbs0" : "";
}

std::string FakeKernel::rdma_device_of(std::string_view node) {
  return node == "uverbs0" ? "rxe0" : "";
}

// --- TaskInspector ---

ErrnoOr<pid_t> FakeKernel::process_of(pid_t tid) {
  std::lock_guard lock(mutex_);
  auto at = tasks_.find(tid);
  if (at == tasks_.end()) return tl::unexpected(ESRCH);
  return at->second;
}

std::string FakeKernel::command_of(pid_t pid) {
  std::lock_guard lock(mutex_);
  auto at = processes_.find(pid);
  return at == processes_.end() ? "?" : at->second.command;
}

ErrnoOr<int> FakeKernel::free_descriptor(pid_t tid, int first, int count) {
  std::lock_guard lock(mutex_);
  Process* process = process_of_task(tid);
  if (process == nullptr) return tl::unexpected(ESRCH);
  for (int fd = first; fd < first + count; ++fd) {
    if (static_cast<std::size_t>(fd) >= process->open_files_limit) break;
    if (!process->table.contains(fd)) return fd;
  }
  return tl::unexpected(EMFILE);
}

ErrnoOr<int> FakeKernel::compare(int own, pid_t tid, int fd) {
  std::lock_guard lock(mutex_);
  Process* process = process_of_task(tid);
  if (process == nullptr) return tl::unexpected(ESRCH);
  auto mine = own_.find(own);
  auto theirs = process->table.find(fd);
  if (mine == own_.end() || theirs == process->table.end()) return tl::unexpected(EBADF);
  return mine->second == theirs->second ? 0 : (mine->second < theirs->second ? -1 : 1);
}

ErrnoOr<int> FakeKernel::compare(int own, int other) {
  std::lock_guard lock(mutex_);
  auto a = own_.find(own);
  auto b = own_.find(other);
  if (a == own_.end() || b == own_.end()) return tl::unexpected(EBADF);
  return a->second == b->second ? 0 : (a->second < b->second ? -1 : 1);
}

ErrnoOr<UniqueFd> FakeKernel::take(pid_t tid, int fd) {
  std::lock_guard lock(mutex_);
  Process* process = process_of_task(tid);
  if (process == nullptr) return tl::unexpected(ESRCH);
  auto at = process->table.find(fd);
  if (at == process->table.end()) return tl::unexpected(EBADF);
  return own_descriptor(at->second);
}

ErrnoOr<dev_t> FakeKernel::device_of(pid_t tid, int fd) {
  std::lock_guard lock(mutex_);
  Process* process = process_of_task(tid);
  if (process == nullptr) return tl::unexpected(ESRCH);
  auto at = process->table.find(fd);
  if (at == process->table.end()) return tl::unexpected(EBADF);
  return files_.at(at->second).device;
}

std::vector<std::optional<vbond::TaskInspector::Holder>> FakeKernel::find_holders(
    std::span<const int> own) {
  std::lock_guard lock(mutex_);
  ++holder_searches_;
  std::vector<std::optional<Holder>> out(own.size());
  for (const auto& [pid, process] : processes_) {
    for (const auto& [fd, file] : process.table) {
      for (std::size_t i = 0; i < own.size(); ++i) {
        if (auto at = own_.find(own[i]); at != own_.end() && at->second == file) {
          out[i] = Holder{pid, fd};
        }
      }
    }
  }
  return out;
}

// Ids are not used again here.
ErrnoOr<std::uint64_t> FakeKernel::started(pid_t pid) {
  std::lock_guard lock(mutex_);
  if (!processes_.contains(pid)) return tl::unexpected(ESRCH);
  return static_cast<std::uint64_t>(pid);
}

std::vector<pid_t> FakeKernel::descendants(pid_t pid) {
  std::lock_guard lock(mutex_);
  std::vector<pid_t> out{pid};
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (const auto& [child, process] : processes_) {
      if (process.parent == out[i]) out.push_back(child);
    }
  }
  out.erase(out.begin());
  return out;
}

int FakeKernel::end(pid_t pid, const std::function<bool()>& still) {
  {
    std::lock_guard lock(mutex_);
    if (!processes_.contains(pid)) return ESRCH;
  }
  if (!still()) return ECANCELED;
  std::lock_guard lock(mutex_);
  die(pid);
  return 0;
}

}  // namespace qmasq::test
