// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "vbond/netlink/netlink.h"

namespace qmasq::test {

// Network namespaces in memory, with the errnos of the kernel: the contract suite
// (tests/integration/netlink) holds both to the same answers. Not thread-safe. Outlives what it
// hands out.
class FakeKernel final : public vbond::netlink::Namespaces {
 public:
  FakeKernel();
  ~FakeKernel() override;

  Result<std::vector<std::string>> names() override;
  std::string path(const std::string& name) const override { return "/fake/netns/" + name; }
  Result<UniqueFd> open(const std::string& name) override;
  Result<UniqueFd> create(const std::string& name, const std::string& mark) override;
  Status remove(const std::string& name) override;
  Result<std::unique_ptr<vbond::netlink::Netlink>> connect(int netns) override;
  Result<std::unique_ptr<vbond::netlink::Monitor>> monitor(int netns) override;

  // For tests.
  // A namespace without a name (a container's).
  UniqueFd make_namespace();
  // Operations whose describe() contains `what` fail with `err`, `times` times.
  // failures_left() == 0 proves that all were met.
  void fail_next(const std::string& what, int err, int times);
  [[nodiscard]] int failures_left() const { return failures_; }
  // Successful and failed operations since the last call, by describe().
  std::vector<std::string> take_operations();
  // Those that anything looks at the kernel with.
  [[nodiscard]] int dumps() const { return dumps_; }

  struct Namespace;  // public for the implementation's free functions

 private:
  friend class FakeNetlink;
  Namespace* find(int netns);

  std::map<ino_t, std::unique_ptr<Namespace>> namespaces_;
  std::map<std::string, UniqueFd> names_;
  UniqueFd own_;
  std::vector<std::string> operations_;
  std::string failing_;
  int failing_err_ = 0;
  int failures_ = 0;
  int dumps_ = 0;
};

}  // namespace qmasq::test
