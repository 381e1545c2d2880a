// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/unique_fd.h"
#include "tests/support/stub_nic.h"
#include "vbond/kernel/verbs_device.h"

namespace qmasq::test {

// A StubNic that is where agents come and go: it serves their ioctls over a socket. As the kernel
// does, it finishes what it was asked for whatever becomes of who asked.
class NicServer {
 public:
  explicit NicServer(const std::string& socket);
  ~NicServer();
  NicServer(const NicServer&) = delete;
  NicServer& operator=(const NicServer&) = delete;

  StubNic nic;

 private:
  void accept_loop();
  void serve(int connection);

  UniqueFd socket_;
  std::mutex mutex_;
  std::list<UniqueFd> connections_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

// The agent's end. /dev/full in the role of uverbs0, opened the way the agent opens verbs devices:
// each open has a mount of its own, whose number tells it from others in whatever process it is.
class RemoteDevices final : public vbond::VerbsDevices {
 public:
  explicit RemoteDevices(const std::string& socket);

  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> open(std::string_view node, int flags) override;
  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> adopt(UniqueFd file) override;
  std::string node_of(dev_t device) override;
  std::string rdma_device_of(std::string_view node) override;

 private:
  class File;
  [[nodiscard]] vbond::ErrnoOr<int> call(std::uint64_t file, std::byte* header);

  std::mutex mutex_;
  UniqueFd socket_;  // guarded by mutex_
};

}  // namespace qmasq::test
