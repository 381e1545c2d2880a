// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/fuzz/intercept_script/arena.h"
#include "tests/fuzz/intercept_script/script.h"

namespace qmasq::fuzz {

// Plays a script's steps in an arena: each byte of a step is taken as something that makes sense,
// so that most steps are near to what a real program does, and some go one thing astray.
class Player {
 public:
  explicit Player(Arena& arena) : arena_(arena) {}
  void play(const Step& step);

 private:
  using Task = Arena::Task;

  // The one that acts; null: it is dead.
  const Task* actor(const Step& step) const;
  [[nodiscard]] static bool second_thread(const Step& step) { return (step.who & 64U) != 0; }
  // The call with what the step's upper bits of `who` make of it.
  test::CallResult call(const Task& task, const Step& step, Draft& draft);
  [[nodiscard]] static int descriptor(std::uint8_t pick);
  [[nodiscard]] static std::uint32_t handle(std::uint8_t pick);
  [[nodiscard]] Gid destination(const Task& task, const Step& step) const;
  [[nodiscard]] vbond::uverbs::QpDest address(const Task& task, const Step& step) const;

  // a: path; b: flags; c: which system call
  void open(const Task& task, const Step& step);
  // a: row of the verb table; b: optional attributes; c to f: handles and numbers
  void any_verb(const Task& task, const Step& step);
  // a: form; b: type; c, d: flags and source QPN; x: more of them
  std::uint32_t create_qp(const Task& task, const Step& step);
  // a: form; b: handle; c: state; d: bits of the mask turned over; e: access, Q_Key; x: destination
  void modify_qp(const Task& task, const Step& step);
  // A new RC QP up to RTS.
  void connect(const Task& task, const Step& step);
  // a: destroy or create; b: handle; x: destination
  void address_handle(const Task& task, const Step& step);
  // a: REG_MR, REREG_MR, DEREG_MR; b: handle; c: length; d: iova
  void memory_region(const Task& task, const Step& step);
  // a: what is asked; b: handle
  void query(const Task& task, const Step& step);
  // a: kind of object and form; b: handle
  void destroy(const Task& task, const Step& step);
  // a: what is written; b: handle; c: which descriptor
  void write(const Task& task, const Step& step);
  // a: dup, close, hand on, another file, open by itself; b, c: descriptors; d: to whom
  void descriptors(const Task& task, const Step& step);
  // a: fork, exit, exec of another program under a filter of its own
  void processes(const Task& task, const Step& step);
  // a: group; b, c: rules; x: bits
  void rules(const Step& step);
  // a: endpoint; b: what happens to it; c: groups
  void endpoint(const Step& step);
  // a: resource; b: limit; c: whose
  void policy(const Step& step);
  // a: where; b: the how-maniest; c: what; d: errno; the rest: of what happens
  void disturb(const Task& task, const Step& step);
  void host(const Step& step);

  Arena& arena_;
};

}  // namespace qmasq::fuzz
