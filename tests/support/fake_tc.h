// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qos/backends/tc/tc_kernel.h"

namespace qmasq::test {

// Traffic control of one network device in memory, as Linux does it: HTB at the root, flower
// filters, their errnos. For one thread. Outlives the seams that it gives out.
class FakeTc {
 public:
  FakeTc();
  // Another one on the same kernel, as of a program that was started again.
  [[nodiscard]] std::unique_ptr<qos::tc::TcKernel> seam();

  // The site's. Replaces what is there, with all that is below it.
  void set_root(qos::tc::Qdisc root);
  void put_class(const qos::tc::Class& spec);
  void put_filter(const qos::tc::Filter& filter);
  // What packets did.
  void set_stats(qos::tc::Handle id, const qos::tc::ClassStats& stats);

  bool device_there = true;  // false: ENODEV
  bool has_htb = true;
  bool has_flower = true;

  // The next `count` operations for which `which` is true fail with `err`. carried_out: it is
  // done all the same; only the answer is lost.
  using Which = std::function<bool(const qos::tc::Operation&)>;
  void fail_next(Which which, int err, int count = 1, bool carried_out = false);
  // The next reads of any kind.
  void fail_reads(int err, int count = 1);
  // All failures that were ordered have happened.
  [[nodiscard]] bool failures_spent() const;

  [[nodiscard]] const qos::tc::Qdisc& root() const { return root_; }
  [[nodiscard]] const std::map<qos::tc::Handle, qos::tc::Class>& classes() const {
    return classes_;
  }
  [[nodiscard]] const std::vector<qos::tc::Filter>& filters() const { return filters_; }
  // Operations since the last call.
  [[nodiscard]] std::vector<qos::tc::Operation> take_log() { return std::exchange(log_, {}); }

 private:
  class Seam;
  struct Failure {
    Which which;
    int err;
    int count;
    bool carried_out;
  };

  [[nodiscard]] Status apply(const qos::tc::Operation& operation);
  [[nodiscard]] Status carry_out(const qos::tc::AddQdisc& add);
  [[nodiscard]] Status carry_out(const qos::tc::DeleteQdisc& gone);
  [[nodiscard]] Status carry_out(const qos::tc::AddClass& add);
  [[nodiscard]] Status carry_out(const qos::tc::ChangeClass& change);
  [[nodiscard]] Status carry_out(const qos::tc::DeleteClass& gone);
  [[nodiscard]] Status carry_out(const qos::tc::AddFilter& add);
  [[nodiscard]] Status carry_out(const qos::tc::DeleteFilter& gone);
  [[nodiscard]] bool has_children(qos::tc::Handle id) const;
  [[nodiscard]] Status read();

  qos::tc::Qdisc root_;
  std::map<qos::tc::Handle, qos::tc::Class> classes_;
  std::vector<qos::tc::Filter> filters_;
  std::vector<Failure> failures_;
  int read_failures_ = 0;
  int read_err_ = 0;
  std::vector<qos::tc::Operation> log_;
};

// A predicate for fail_next().
template <typename T>
bool is(const qos::tc::Operation& operation) {
  return std::holds_alternative<T>(operation);
}

}  // namespace qmasq::test
