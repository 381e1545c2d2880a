// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "qmasq/v1/agent.pb.h"
#include "tests/integration/agent/site_network.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/fake_qos_backend.h"
#include "tests/support/temp_dir.h"
#include "vbond/agent/agent.h"
#include "vbond/nic/fake_nic_source.h"

namespace qmasq::test {

// A host with a whole agent on it: everything is real but the kernel under it.
class AgentSite {
 public:
  // `controller`: as --controller. `address`: of the underlay, and of the NIC rxe0.
  AgentSite(const std::string& host, std::string controller, const std::string& address);
  ~AgentSite();

  // Error texts end the test that asked.
  [[nodiscard]] Status start();
  void stop();

  [[nodiscard]] v1::Agent describe() const;
  [[nodiscard]] v1::HostQos qos() const;
  [[nodiscard]] std::vector<v1::Event> events(const std::string& type) const;
  [[nodiscard]] const std::string& attach_socket() const { return attach_socket_; }
  [[nodiscard]] std::string file(const std::string& name) const { return directory_.file(name); }

  [[nodiscard]] bool in_sync_at(std::uint64_t revision) const {
    return eventually([&] {
      auto agent = describe();
      return agent.in_sync() && agent.held_revision() == revision;
    });
  }

  vbond::AgentOptions options;
  std::shared_ptr<vbond::FakeNicSource> nics = std::make_shared<vbond::FakeNicSource>();
  std::shared_ptr<SiteNetwork> network;
  std::shared_ptr<FakeKernel> kernel = std::make_shared<FakeKernel>();
  // What limits rxe0; outlives agents.
  FakeLimits limits;

 private:
  testing::TempDir directory_;
  std::string attach_socket_;
  std::string socket_;
  SystemClock clock_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<vbond::Agent> agent_;
};

}  // namespace qmasq::test
