// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

// What the running kernel offers of what interception stands on. Each answer comes from asking the
// kernel, not from its version: distributions backport, and sandboxes take away.
namespace qmasq::vbond {

// Names as Agent.features and `qmasq doctor` show them.
inline constexpr std::string_view kUserNotif = "user_notif";
inline constexpr std::string_view kAddFd = "addfd";
inline constexpr std::string_view kAddFdSend = "addfd_send";
inline constexpr std::string_view kWaitKillable = "wait_killable";
inline constexpr std::string_view kSyncWakeUp = "sync_wake_up";
inline constexpr std::string_view kKcmp = "kcmp";
inline constexpr std::string_view kProcessVmReadv = "process_vm_readv";
inline constexpr std::string_view kPidfdGetfd = "pidfd_getfd";
inline constexpr std::string_view kMountSetattr = "mount_setattr";

struct Feature {
  std::string_view name;
  bool present = false;
  // True: nothing works without it. False: it is faster or kinder with it; `purpose` says how.
  bool required = true;
  // errno of the probe when it is not present (0: the kernel said so without one).
  int err = 0;
  std::string_view since;  // first kernel with it: "5.14"
  std::string_view purpose;
};

struct Features {
  std::string kernel_release;  // uname -r
  std::vector<Feature> all;    // always the same features in the same order

  [[nodiscard]] bool has(std::string_view name) const;
  // Names of those present, in order.
  [[nodiscard]] std::vector<std::string> names() const;
};

// Takes about a millisecond: starts one thread, which puts a filter that admits everything on
// itself alone and ends. Safe to call from a program with other threads; leaves nothing behind.
// In a program that already has a notifying filter above it (one under `qmasq run`) the features
// that need a listener read as absent with EBUSY.
[[nodiscard]] Features detect_features();

}  // namespace qmasq::vbond
