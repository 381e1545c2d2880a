// SPDX-License-Identifier: Apache-2.0
// Rules that change while a queue pair is on its way to RTR: every order in which the steps of the
// verb and those of the changes can come ends in what the rules say.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/rename/rename_fixture.h"

namespace qmasq::vbond::testing {
namespace {

using uverbs::QpState;

// The kernel's side of one queue pair.
struct FakeQp {
  QpState state = QpState::kInit;
  int operator()(const uverbs::ModifyQp& command) {
    if (command.sets(qp_mask::kState)) state = command.state;
    return 0;
  }
};

class InterleavingTest : public RenameFixture {
 protected:
  // Rules of blue's default group: open admits members, closed nobody.
  Change rules(bool open) {
    Change change;
    change.revision = Revision{++revision_};
    conntrack::Group blue = group(1, "blue");
    if (!open) blue.rules.clear();
    change.groups = {blue};
    return change;
  }

  // One connect of a new queue pair, its steps in the order of the executor; `context_locked` as
  // Context::mutex.
  struct Verb {
    std::vector<std::function<void()>> steps;
  };

  void run(const std::vector<bool>& changes, const std::vector<int>& order) {
    apply(rules(!changes.front()));
    const std::uint32_t handle = ++handle_;
    renamer_.qp_created(blue_a_, handle, Qpn{handle}, uverbs::QpType::kRc);
    ASSERT_EQ(modify(blue_a_, to_state(handle, QpState::kInit)), 0);
    FakeQp qp;
    bool locked = false;  // Context::mutex
    bool refused = false;
    uverbs::ModifyQp command = rtr(handle, "10.0.0.2");
    std::optional<ModifyPlan> plan;
    std::vector<std::function<bool()>> verb = {
        [&] {  // decide
          if (locked) return false;
          locked = true;
          auto decided = renamer_.before_modify(blue_a_, command);
          refused = !decided;
          if (decided) plan = std::move(*decided);
          if (refused) locked = false;
          return true;
        },
        [&] {  // the kernel
          if (!refused) qp(command);
          return true;
        },
        [&] {  // record
          if (refused) return true;
          renamer_.after_modify(blue_a_, *plan, 0);
          locked = false;
          return true;
        },
    };
    std::vector<conntrack::Effect> waiting;
    std::vector<std::function<bool()>> sync;
    for (bool open : changes) {
      sync.emplace_back([this, open, &waiting] {
        apply(rules(open));
        waiting.insert(waiting.end(), effects_.begin(), effects_.end());
        return true;
      });
      sync.emplace_back([this, &waiting, &qp, &locked] {
        if (locked) return false;  // waits for the verb
        for (const auto& effect : waiting)
          renamer_.enforce(effect, {std::ref(qp), {}});
        waiting.clear();
        return true;
      });
    }
    // A step that must wait lets the other thread go first.
    std::size_t next[2] = {0, 0};
    std::vector<std::function<bool()>>* threads[2] = {&verb, &sync};
    for (std::size_t i = 0; next[0] < verb.size() || next[1] < sync.size(); ++i) {
      auto who = static_cast<std::size_t>(i < order.size() ? order[i] : static_cast<int>(i % 2));
      if (next[who] == threads[who]->size()) who = 1 - who;
      if ((*threads[who])[next[who]]()) ++next[who];
    }
    ASSERT_TRUE(waiting.empty());
    const bool open_at_last = changes.back();
    if (!open_at_last) {
      EXPECT_NE(qp.state, QpState::kRtr);
      EXPECT_EQ(tracker_.size(), 0U);
    } else if (!refused && qp.state == QpState::kRtr) {
      EXPECT_EQ(tracker_.size(), 1U);
    } else {
      EXPECT_EQ(tracker_.size(), 0U);  // refused or cut in between; the program may try again
    }
    // And again through RESET, as the rules say now.
    ASSERT_EQ(modify(blue_a_, to_state(handle, QpState::kReset)), 0);
    ASSERT_EQ(modify(blue_a_, to_state(handle, QpState::kInit)), 0);
    EXPECT_EQ(modify(blue_a_, rtr(handle, "10.0.0.2")), open_at_last ? 0 : EACCES);
    renamer_.qp_destroyed(blue_a_, handle);
    EXPECT_EQ(tracker_.size(), 0U);
  }

 private:
  std::uint64_t revision_ = 1;
  std::uint32_t handle_ = 100;
};

TEST_F(InterleavingTest, EveryOrderEndsInWhatTheRulesSay) {
  const std::vector<std::vector<bool>> histories = {
      {false}, {true}, {false, true}, {true, false}, {true, false, true}, {false, true, false}};
  std::size_t orders = 0;
  for (const auto& changes : histories) {
    // 0: a step of the verb, 1: one of the thread that applies and cuts.
    std::vector<int> order(3, 0);
    order.insert(order.end(), 2 * changes.size(), 1);
    do {
      SCOPED_TRACE(::testing::PrintToString(changes) + " " + ::testing::PrintToString(order));
      run(changes, order);
      if (HasFailure()) return;
      ++orders;
    } while (std::next_permutation(order.begin(), order.end()));
  }
  EXPECT_EQ(orders, 10U * 2 + 35U * 2 + 84U * 2);
}

}  // namespace
}  // namespace qmasq::vbond::testing
