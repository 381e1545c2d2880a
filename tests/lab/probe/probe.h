// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

// A tenant program for the lab: does on purpose what ordinary programs do not (point a QP at an
// address without asking anybody, send nonsense to the kernel) and prints what came of it as one
// line of JSON. It knows nothing of qmasq.
namespace qmasq::probe {

struct ContextCloser {
  void operator()(ibv_context* context) const { ibv_close_device(context); }
};
using Context = std::unique_ptr<ibv_context, ContextCloser>;

// Opens a device by name; nullptr with errno set when there is none or it cannot be opened.
[[nodiscard]] Context open_device(const std::string& name);

// "EHOSTUNREACH", "0" for none, or the number.
[[nodiscard]] std::string errno_name(int err);

// Each runs a subcommand and gives the exit code.
struct ConnectOptions {
  std::string device = "rxe0";
  std::string peer_gid;        // address or GID text; "self": the device's own at gid_index
  std::uint32_t peer_qpn = 0;  // 0: the QP's own number
  int gid_index = 1;
  std::string type = "rc";  // rc, uc, ud, xrc, raw
  int hold_seconds = 0;     // keep the QP that long after it was connected
  int rounds = 1;
  // Asks for all access flags once it is connected, and when the QP is put into the error state,
  // takes it up again: what a program does that does not want to obey.
  bool insist = false;
};
int connect(const ConnectOptions& options);
int identity(const std::string& device);
int flood(const std::string& device, int seconds);
int hostile(const std::string& device);
// `count` RC queue pairs connected to a peer; says when each was put into the error state.
int crowd(const std::string& device, const std::string& peer_gid, int count, int seconds);
struct EndureOptions {
  std::string device = "rxe0";
  std::string peer_gid;
  std::string forbidden_gid;  // a peer that rules forbid, EACCES; empty: none is tried
  int seconds = 60;           // or until SIGTERM
};
// Connects and destroys QPs all the time, with some that stand; ends with the first verb that
// fails.
int endure(const EndureOptions& options);
struct HoardOptions {
  std::string device = "rxe0";
  std::string kind = "mr";   // cq, mr, qp, srq
  int count = 1;             // at most
  int churn = 0;             // made and destroyed so often before
  bool bad = false;          // between two, a registration of what is not mapped
  std::size_t bytes = 4096;  // of each memory region
  int hold_seconds = 0;      // keep them that long
};
// Objects of one kind until one fails: how many there were, and its errno.
int hoard(const HoardOptions& options);

struct RaceOptions {
  std::string device = "rxe0";
  std::string peer_gid;  // as the wire knows it, not the VPC
  int gid_index = 1;     // of the device's own table
  int rounds = 1000;
  int hold_seconds = 0;  // after it worked
};
// Tries to connect a QP behind the agent's back: by swapping the arguments of a registration of
// memory, or by a plain write() on a device that it opened itself. Says {"ready":true} first: a
// program that is killed says nothing more.
int race(const RaceOptions& options);
int legacy(const RaceOptions& options);

}  // namespace qmasq::probe
