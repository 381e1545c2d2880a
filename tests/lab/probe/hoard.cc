// SPDX-License-Identifier: Apache-2.0
// Makes objects of one kind until one fails, keeps them for a while, and gives them back or not.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/lab/probe/probe.h"

namespace qmasq::probe {
namespace {

template <typename T>
using Owned = std::unique_ptr<T, int (*)(T*)>;

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, FreeMemory>;

// Something that goes when it is called for.
using Release = std::function<void()>;

class Maker {
 public:
  Maker(ibv_context* context, const HoardOptions& options)
      : context_(context),
        options_(options),
        pd_(ibv_alloc_pd(context), ibv_dealloc_pd),
        cq_(nullptr, ibv_destroy_cq),
        memory_(std::aligned_alloc(4096, (options.bytes + 8191) / 4096 * 4096)) {
    if (options.kind == "qp") cq_.reset(ibv_create_cq(context, 16, nullptr, nullptr, 0));
  }
  [[nodiscard]] bool ready() const {
    return pd_ && memory_ && (options_.kind != "qp" || cq_ != nullptr);
  }

  // Empty with errno set when it failed.
  [[nodiscard]] Release make() {
    if (options_.kind == "cq") {
      ibv_cq* cq = ibv_create_cq(context_, 16, nullptr, nullptr, 0);
      return cq == nullptr ? Release() : [cq] { (void)ibv_destroy_cq(cq); };
    }
    if (options_.kind == "srq") {
      ibv_srq_init_attr init{};
      init.attr.max_wr = 16;
      init.attr.max_sge = 1;
      ibv_srq* srq = ibv_create_srq(pd_.get(), &init);
      return srq == nullptr ? Release() : [srq] { (void)ibv_destroy_srq(srq); };
    }
    if (options_.kind == "qp") {
      ibv_qp_init_attr init{};
      init.send_cq = cq_.get();
      init.recv_cq = cq_.get();
      init.cap = {1, 1, 1, 1, 0};
      init.qp_type = IBV_QPT_RC;
      ibv_qp* qp = ibv_create_qp(pd_.get(), &init);
      return qp == nullptr ? Release() : [qp] { (void)ibv_destroy_qp(qp); };
    }
    ibv_mr* mr = ibv_reg_mr(pd_.get(), memory_.get(), options_.bytes, IBV_ACCESS_LOCAL_WRITE);
    return mr == nullptr ? Release() : [mr] { (void)ibv_dereg_mr(mr); };
  }

  // A registration that the kernel refuses: nothing is mapped there. Its errno.
  [[nodiscard]] int make_bad() {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address that must not be one
    auto* nowhere = reinterpret_cast<void*>(std::uintptr_t{0x10000});
    errno = 0;
    ibv_mr* mr = ibv_reg_mr(pd_.get(), nowhere, 4096, IBV_ACCESS_LOCAL_WRITE);
    const int err = errno;
    if (mr != nullptr) (void)ibv_dereg_mr(mr);
    return mr != nullptr ? 0 : err;
  }

 private:
  ibv_context* const context_;
  const HoardOptions& options_;
  Owned<ibv_pd> pd_;
  Owned<ibv_cq> cq_;
  Memory memory_;
};

}  // namespace

int hoard(const HoardOptions& options) {
  Context context = open_device(options.device);
  if (!context) {
    std::printf("{\"failed\":\"%s\"}\n", errno_name(errno).c_str());
    return 1;
  }
  Maker maker(context.get(), options);
  nlohmann::ordered_json answer;
  answer["kind"] = options.kind;
  if (!maker.ready()) {
    answer["failed"] = errno_name(errno);
    std::printf("%s\n", answer.dump().c_str());
    return 1;
  }
  std::string failed;
  std::string bad;
  for (int i = 0; i < options.churn && failed.empty(); ++i) {
    Release release = maker.make();
    if (release) {
      release();
    } else {
      failed = errno_name(errno);
    }
  }
  std::vector<Release> made;
  while (failed.empty() && made.size() < static_cast<std::size_t>(options.count)) {
    if (options.bad) bad = errno_name(maker.make_bad());
    Release release = maker.make();
    if (release) {
      made.push_back(std::move(release));
    } else {
      failed = errno_name(errno);
    }
  }
  answer["made"] = made.size();
  answer["failed"] = failed.empty() ? "0" : failed;
  if (options.bad) answer["bad"] = bad;
  std::printf("%s\n", answer.dump().c_str());
  std::fflush(stdout);
  ::sleep(static_cast<unsigned>(options.hold_seconds));
  for (Release& release : made)
    release();
  return 0;
}

}  // namespace qmasq::probe
