// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_tc.h"

#include <algorithm>

namespace qmasq::test {

using namespace qos::tc;  // NOLINT(google-build-using-namespace): the fake is all about it

namespace {

const Qdisc kDefault{0, kRoot, "fq_codel"};

Status kernel_says(int err, const char* text = "") {
  return fail_errno(err, *text == '\0' ? "kernel" : "kernel: " + std::string(text));
}

}  // namespace

class FakeTc::Seam final : public TcKernel {
 public:
  explicit Seam(FakeTc& fake) : fake_(fake) {}

  Result<std::vector<Qdisc>> qdiscs() override {
    QMASQ_TRY(fake_.read());
    return std::vector<Qdisc>{fake_.root_};
  }
  Result<std::vector<Class>> classes(Handle qdisc) override {
    QMASQ_TRY(fake_.read());
    std::vector<Class> found;
    if (fake_.root_.handle != qdisc) return found;
    for (const auto& [id, one] : fake_.classes_)
      found.push_back(one);
    return found;
  }
  Result<std::vector<Filter>> filters(Handle qdisc) override {
    QMASQ_TRY(fake_.read());
    if (fake_.root_.handle != qdisc) return std::vector<Filter>{};
    return fake_.filters_;
  }
  std::vector<Status> apply(std::span<const Operation> operations) override {
    std::vector<Status> results;
    results.reserve(operations.size());
    for (const Operation& operation : operations)
      results.push_back(fake_.apply(operation));
    return results;
  }

 private:
  FakeTc& fake_;
};

FakeTc::FakeTc() : root_(kDefault) {}

std::unique_ptr<TcKernel> FakeTc::seam() {
  return std::make_unique<Seam>(*this);
}

void FakeTc::set_root(Qdisc root) {
  root_ = std::move(root);
  classes_.clear();
  filters_.clear();
}

void FakeTc::put_class(const Class& spec) {
  classes_[spec.id] = spec;
}

void FakeTc::put_filter(const Filter& filter) {
  filters_.push_back(filter);
}

void FakeTc::set_stats(Handle id, const ClassStats& stats) {
  classes_.at(id).stats = stats;
}

void FakeTc::fail_next(Which which, int err, int count, bool carried_out) {
  failures_.push_back({std::move(which), err, count, carried_out});
}

void FakeTc::fail_reads(int err, int count) {
  read_err_ = err;
  read_failures_ = count;
}

bool FakeTc::failures_spent() const {
  return read_failures_ == 0 && std::all_of(failures_.begin(), failures_.end(),
                                            [](const Failure& one) { return one.count == 0; });
}

Status FakeTc::read() {
  if (!device_there) return fail_errno(ENODEV, "network device");
  if (read_failures_ == 0) return {};
  --read_failures_;
  return kernel_says(read_err_);
}

Status FakeTc::apply(const Operation& operation) {
  if (!device_there) return fail_errno(ENODEV, "network device");
  log_.push_back(operation);
  for (Failure& failure : failures_) {
    if (failure.count == 0 || !failure.which(operation)) continue;
    --failure.count;
    if (failure.carried_out) {
      (void)std::visit([this](const auto& one) { return carry_out(one); }, operation);
    }
    return kernel_says(failure.err);
  }
  return std::visit([this](const auto& one) { return carry_out(one); }, operation);
}

Status FakeTc::carry_out(const AddQdisc& add) {
  if (!has_htb) return kernel_says(ENOENT, "Specified qdisc kind is unknown.");
  if (root_.handle != 0) {
    return kernel_says(EEXIST, "Exclusivity flag on, cannot modify.");
  }
  set_root({add.handle, kRoot, "htb"});
  return {};
}

Status FakeTc::carry_out(const DeleteQdisc& gone) {
  if (root_.handle == 0) {
    return kernel_says(ENOENT, "Cannot delete qdisc with handle of zero.");
  }
  if (root_.handle != gone.handle) return kernel_says(EINVAL, "Invalid handle");
  set_root(kDefault);
  return {};
}

Status FakeTc::carry_out(const AddClass& add) {
  if (root_.handle != (add.spec.id & 0xffff0000U)) return kernel_says(ENOENT);
  if (classes_.contains(add.spec.id)) return kernel_says(EEXIST);
  if (add.spec.rate == 0 || add.spec.ceil == 0) return kernel_says(EINVAL);
  Class made = add.spec;
  // As Linux: not an error.
  if (!classes_.contains(made.parent)) made.parent = kRoot;
  made.stats = {};
  classes_[made.id] = made;
  return {};
}

Status FakeTc::carry_out(const ChangeClass& change) {
  auto at = classes_.find(change.spec.id);
  if (at == classes_.end()) return kernel_says(ENOENT);
  if (change.spec.rate == 0 || change.spec.ceil == 0) return kernel_says(EINVAL);
  Class changed = change.spec;
  changed.parent = at->second.parent;
  changed.stats = at->second.stats;
  if (has_children(changed.id)) changed.quantum = at->second.quantum;
  at->second = changed;
  return {};
}

bool FakeTc::has_children(Handle id) const {
  return std::any_of(classes_.begin(), classes_.end(),
                     [id](const auto& one) { return one.second.parent == id; });
}

Status FakeTc::carry_out(const DeleteClass& gone) {
  if (!classes_.contains(gone.id)) return kernel_says(ENOENT);
  bool used = std::any_of(filters_.begin(), filters_.end(),
                          [&](const Filter& one) { return one.target == gone.id; });
  if (used || has_children(gone.id)) return kernel_says(EBUSY, "HTB class in use");
  classes_.erase(gone.id);
  return {};
}

Status FakeTc::carry_out(const AddFilter& add) {
  if (root_.handle != kOurs) return kernel_says(EINVAL, "Parent Qdisc doesn't exists");
  if (!has_flower) return kernel_says(ENOENT, "TC classifier not found");
  for (const Filter& one : filters_) {
    if (one.priority != add.spec.priority) continue;
    if (one.protocol != add.spec.protocol || one.kind != add.spec.kind) {
      return kernel_says(EINVAL, "Specified filter protocol doesn't match existing one");
    }
    if (one.handle == add.spec.handle || one.match == add.spec.match) return kernel_says(EEXIST);
  }
  filters_.push_back(add.spec);
  return {};
}

Status FakeTc::carry_out(const DeleteFilter& gone) {
  auto at = std::find_if(filters_.begin(), filters_.end(), [&](const Filter& one) {
    return one.priority == gone.priority && one.handle == gone.handle;
  });
  if (at == filters_.end()) return kernel_says(ENOENT, "Specified filter handle not found");
  if (at->protocol != gone.protocol) return kernel_says(EINVAL);
  filters_.erase(at);
  return {};
}

}  // namespace qmasq::test
