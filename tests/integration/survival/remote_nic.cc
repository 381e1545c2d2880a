// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/survival/remote_nic.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <vector>

#include "vbond/uverbs/call.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::test {

using namespace vbond::uverbs;  // NOLINT: all of this is about calls
using vbond::ErrnoOr;

namespace {

constexpr std::size_t kMaxPacket = std::size_t{192} * 1024;
constexpr std::size_t kDataAt = 8;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return out;
}

struct Pointer {
  std::size_t at;  // of the address in the header
  std::uint64_t address;
  std::size_t size;
};

// Attributes whose payload is elsewhere.
std::vector<Pointer> pointers_of(std::span<const std::byte> header) {
  std::vector<Pointer> out;
  auto call = decode_call(header);
  if (!call) return out;
  const Verb* verb = find_verb(*call);
  for (std::size_t i = 0; i < call->num_attrs(); ++i) {
    const Attr attr = call->attr(i);
    const AttrSpec* spec = find_spec(*verb, attr.id);
    const bool is_out = spec != nullptr ? spec->kind == Kind::kPtrOut
                                        : attr.id == attr::kCoreOut || attr.id == attr::kUhwOut;
    if (is_out || attr.len > kInlineSize)
      out.push_back({kHeaderSize + i * kAttrSize + kDataAt, attr.data, attr.len});
  }
  return out;
}

// The ABI carries pointers as numbers.
std::byte* memory(std::uint64_t address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

NicServer::NicServer(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  const auto address = address_of(path);
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(socket_.get(), 8) != 0) {
    throw std::runtime_error("no socket for the NIC");
  }
  nic.strict_states = true;
  acceptor_ = std::thread([this] { accept_loop(); });
}

NicServer::~NicServer() {
  (void)::shutdown(socket_.get(), SHUT_RDWR);
  acceptor_.join();
  for (auto& connection : connections_)
    (void)::shutdown(connection.get(), SHUT_RDWR);
  for (auto& thread : threads_)
    thread.join();
}

void NicServer::accept_loop() {
  for (;;) {
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) return;
    std::lock_guard lock(mutex_);
    const int fd = connections_.emplace_back(std::move(connection)).get();
    threads_.emplace_back([this, fd] { serve(fd); });
  }
}

void NicServer::serve(int connection) {
  std::vector<std::byte> packet(kMaxPacket);
  for (;;) {
    const ssize_t got = ::recv(connection, packet.data(), packet.size(), 0);
    if (got <= static_cast<ssize_t>(sizeof(std::uint64_t) + kHeaderSize)) return;
    std::uint64_t file = 0;
    std::memcpy(&file, packet.data(), sizeof(file));
    std::byte* header = packet.data() + sizeof(file);
    std::uint16_t length = 0;
    std::memcpy(&length, header, sizeof(length));
    std::byte* payload = header + length;
    for (const Pointer& each : pointers_of({header, length})) {
      const auto here = reinterpret_cast<std::uint64_t>(payload);
      std::memcpy(header + each.at, &here, sizeof(here));
      payload += each.size;
    }
    auto done = nic.call(file, header);
    const std::int64_t result = done ? *done : -std::int64_t{done.error()};
    std::memcpy(packet.data(), &result, sizeof(result));
    if (::send(connection, packet.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) != got)
      continue;  // nobody is there any more
  }
}

class RemoteDevices::File final : public vbond::VerbsFile {
 public:
  File(RemoteDevices& devices, std::uint64_t id, UniqueFd file)
      : devices_(devices), id_(id), file_(std::move(file)) {}
  int descriptor() const override { return file_.get(); }
  ErrnoOr<int> call(void* header) override {
    return devices_.call(id_, static_cast<std::byte*>(header));
  }

 private:
  RemoteDevices& devices_;
  const std::uint64_t id_;
  UniqueFd file_;
};

RemoteDevices::RemoteDevices(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  const auto address = address_of(path);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    throw std::runtime_error("no NIC");
}

ErrnoOr<int> RemoteDevices::call(std::uint64_t file, std::byte* header) {
  std::uint16_t length = 0;
  std::memcpy(&length, header, sizeof(length));
  std::vector<std::byte> packet(sizeof(file));
  std::memcpy(packet.data(), &file, sizeof(file));
  packet.insert(packet.end(), header, header + length);
  const auto pointers = pointers_of({header, length});
  for (const Pointer& each : pointers)
    packet.insert(packet.end(), memory(each.address), memory(each.address) + each.size);
  std::lock_guard lock(mutex_);
  if (::send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(packet.size()) ||
      ::recv(socket_.get(), packet.data(), packet.size(), 0) !=
          static_cast<ssize_t>(packet.size())) {
    return tl::unexpected(EIO);
  }
  std::int64_t result = 0;
  std::memcpy(&result, packet.data(), sizeof(result));
  std::byte* from = packet.data() + sizeof(result);
  const std::byte* payload = from + length;
  for (const Pointer& each : pointers) {
    std::memcpy(memory(each.address), payload, each.size);
    std::memcpy(from + each.at, &each.address, sizeof(each.address));
    payload += each.size;
  }
  std::memcpy(header, from, length);
  if (result < 0) return tl::unexpected(static_cast<int>(-result));
  return static_cast<int>(result);
}

ErrnoOr<std::unique_ptr<vbond::VerbsFile>> RemoteDevices::open(std::string_view node, int flags) {
  if (node != "uverbs0") return tl::unexpected(ENOENT);
  auto file = vbond::open_without_reopen("/dev/full", flags);
  if (!file) return tl::unexpected(file.error());
  return adopt(std::move(*file));
}

ErrnoOr<std::unique_ptr<vbond::VerbsFile>> RemoteDevices::adopt(UniqueFd file) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(file.get()));
  std::string word;
  std::uint64_t mount = 0;
  while (info >> word) {
    if (word == "mnt_id:") info >> mount;
  }
  if (mount == 0) return tl::unexpected(EBADF);
  return std::make_unique<File>(*this, mount, std::move(file));
}

std::string RemoteDevices::node_of(dev_t device) {
  return device == makedev(1, 7) ? "uverbs0" : "";
}

std::string RemoteDevices::rdma_device_of(std::string_view node) {
  return node == "uverbs0" ? "rxe0" : "";
}

}  // namespace qmasq::test
