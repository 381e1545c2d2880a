// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/attack/program/rig.h"

// Hostile tenant programs: each tries to get past the agent and prints what came of it as one line
// of JSON. They know nothing of qmasq; run without it, they show that the attack works. A test
// believes what it sees from outside more than what is printed here.
//
// Each function runs a subcommand and gives the exit code.
namespace qmasq::attack {

// victim.cc: a queue pair that anybody who knows its numbers could write through, and a watch over
// the memory behind it. Prints {qpn, rkey, address}, then {"changed":true} when it was changed, and
// ends after `seconds`.
int victim(const std::string& device, const std::string& peer_gid, int gid_index, int seconds);

// race.cc: verbs whose arguments change while the kernel is on its way to read them.
struct RaceOptions {
  std::string device = "rxe0";
  Target target;
  std::string peer_gid;
  std::string how = "thread";  // thread, process, fault
  std::string into = "rtr";    // rtr, gids, ud, ah: what becomes of the REG_MR
  std::string tally;           // file that counts over restarts
  std::uint64_t rounds = 100;  // as the tally counts them
  int aim = 100;  // percent of the rounds whose change may come at any time of the call
  int seconds = 60;
};
int race(const RaceOptions& options);
// repeat.cc: outside of any tenant, starts `command` again and again until the tally has `rounds`,
// and looks after each end for queue pairs with the peer `peer_qpn`.
int repeat(const std::string& tally, std::uint64_t rounds, int seconds, std::uint32_t peer_qpn,
           const std::vector<std::string>& command);

// opens.cc: every way to a verbs device that is one's own.
int opens(const std::string& device, const std::string& node);

// writes.cc: the legacy interface on a descriptor that came from elsewhere.
int writes(const std::string& device, const Target& target, int hold_seconds);

// verbs.cc: what ought to be refused, and addresses that are not the tenant's.
int verbs(const std::string& device, const Target& peer, const Target& target);

// leaks.cc: texts that must not be readable, a line of standard input each, looked for wherever a
// tenant can read.
int leaks(const std::string& device, const Target& peer, const std::vector<std::string>& roots);

// neighbour.cc: another tenant's process, and seccomp filters on top of filters.
int neighbour(int pid, int fd);
int stacking(const std::string& device, const Target& target);

// floods.cc
int descriptor_flood(const std::string& device, int count, int hold_seconds);
int length_flood(const std::string& device, int threads, int seconds);

// handles.cc: verbs on another tenant's objects. `send` hands an open device to whoever connects to
// `path`; `receive` uses it.
int send_device(const std::string& device, const std::string& path, int seconds);
int receive_device(const std::string& path, const Target& target);
// Writes once into the target over a connection to `peer`, as the agent permits it.
int write_over(const std::string& device, const Target& connection, const Target& memory);

}  // namespace qmasq::attack
