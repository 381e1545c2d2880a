// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "tests/attack/program/attack.h"

namespace {

using namespace qmasq::attack;  // NOLINT(google-build-using-namespace): the program is all about it

// Options that say where a target is. `prefix` is "" or "peer-".
struct TargetOptions {
  std::string gid;
  int gid_index = 1;
  Target target;
  void add(CLI::App& command, const std::string& prefix, bool memory) {
    command.add_option("--" + prefix + "gid", gid, "Address or GID")->required();
    command.add_option("--" + prefix + "gid-index", gid_index, "Index of the own GID");
    command.add_option("--" + prefix + "qpn", target.qpn, "QP number");
    if (!memory) return;
    command.add_option("--" + prefix + "rkey", target.rkey, "Key of its memory");
    command.add_option("--" + prefix + "address", target.address, "Address of its memory");
  }
  bool take() {
    auto parsed = gid_of(gid);
    if (!parsed) {
      std::fprintf(stderr, "qmasq-lab-attack: '%s' is no GID\n", gid.c_str());
      return false;
    }
    target.gid = *parsed;
    target.gid_index = static_cast<std::uint8_t>(gid_index);
    return true;
  }
};

}  // namespace

int main(int argc, char** argv) {
  // Another program and its options are not ours to understand.
  std::vector<std::string> words;
  char** const tail = std::find_if(argv, argv + argc,
                                   [](const char* word) { return std::string_view(word) == "--"; });
  if (tail != argv + argc) words.assign(tail + 1, argv + argc);
  argc = static_cast<int>(tail - argv);

  CLI::App app{"Hostile tenant programs for the lab"};
  app.require_subcommand(1);
  std::string device = "rxe0";
  app.add_option("--device", device, "RDMA device");
  int exit_code = 2;
  int seconds = 60;
  int count = 1000;
  TargetOptions target;
  TargetOptions peer;

  auto* command = app.add_subcommand("victim", "Memory that others can write, watched");
  peer.add(*command, "peer-", false);
  command->add_option("--seconds", seconds);
  command->callback([&] {
    if (peer.take()) exit_code = victim(device, peer.gid, peer.gid_index, seconds);
  });

  RaceOptions options;
  command = app.add_subcommand("race", "Change a verb while it is under way");
  target.add(*command, "", true);
  command->add_option("--how", options.how)->check(CLI::IsMember({"thread", "process", "fault"}));
  command->add_option("--into", options.into)->check(CLI::IsMember({"rtr", "gids", "ud", "ah"}));
  command->add_option("--tally", options.tally)->required();
  command->add_option("--rounds", options.rounds);
  command->add_option("--aim", options.aim);
  command->add_option("--seconds", seconds);
  command->callback([&] {
    if (!target.take()) return;
    options.device = device;
    options.target = target.target;
    options.seconds = seconds;
    exit_code = race(options);
  });

  command = app.add_subcommand("repeat", "Start the program after -- again and again");
  command->add_option("--tally", options.tally)->required();
  command->add_option("--rounds", options.rounds);
  command->add_option("--seconds", seconds);
  command->add_option("--qpn", target.target.qpn);
  command->callback([&] {
    exit_code = repeat(options.tally, options.rounds, seconds, target.target.qpn, words);
  });

  std::string node = "/dev/infiniband/uverbs0";
  command = app.add_subcommand("opens", "Every way to a verbs device");
  command->add_option("--node", node);
  command->callback([&] { exit_code = opens(device, node); });

  int hold = 0;
  command = app.add_subcommand("writes", "Legacy commands on a descriptor");
  target.add(*command, "", false);
  command->add_option("--hold", hold);
  command->callback([&] {
    if (target.take()) exit_code = writes(device, target.target, hold);
  });

  command = app.add_subcommand("verbs", "Verbs that ought to be refused");
  target.add(*command, "", false);
  peer.add(*command, "peer-", false);
  command->callback([&] {
    if (target.take() && peer.take()) exit_code = verbs(device, peer.target, target.target);
  });

  std::vector<std::string> roots;
  command = app.add_subcommand("leaks", "Look for texts wherever a tenant can read");
  peer.add(*command, "peer-", false);
  command->add_option("--root", roots);
  command->callback([&] {
    if (peer.take()) exit_code = leaks(device, peer.target, roots);
  });

  int pid = 0;
  int fd = 0;
  command = app.add_subcommand("neighbour", "Get at another process and its descriptors");
  command->add_option("--pid", pid)->required();
  command->add_option("--fd", fd)->required();
  command->callback([&] { exit_code = neighbour(pid, fd); });

  command = app.add_subcommand("stacking", "Seccomp filters on top of filters");
  target.add(*command, "", false);
  command->callback([&] {
    if (target.take()) exit_code = stacking(device, target.target);
  });

  command = app.add_subcommand("descriptors", "Open a device until it fails");
  command->add_option("--count", count);
  command->add_option("--hold", hold);
  command->callback([&] { exit_code = descriptor_flood(device, count, hold); });

  command = app.add_subcommand("lengths", "Ask for answers as long as can be");
  command->add_option("--count", count, "Threads");
  command->add_option("--seconds", seconds);
  command->callback([&] { exit_code = length_flood(device, count, seconds); });

  std::string path;
  command = app.add_subcommand("send", "Hand an open device to whoever connects");
  command->add_option("--path", path)->required();
  command->add_option("--seconds", seconds);
  command->callback([&] { exit_code = send_device(device, path, seconds); });

  command = app.add_subcommand("receive", "Use a device that another program has opened");
  command->add_option("--path", path)->required();
  target.add(*command, "", false);
  command->callback([&] {
    if (target.take()) exit_code = receive_device(path, target.target);
  });

  command = app.add_subcommand("write", "Write into memory over a connection");
  target.add(*command, "", true);
  peer.add(*command, "peer-", false);
  command->callback([&] {
    if (target.take() && peer.take()) {
      exit_code = write_over(device, peer.target, target.target);
    }
  });

  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
