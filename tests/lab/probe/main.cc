// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <CLI/CLI.hpp>

#include "tests/lab/probe/probe.h"

int main(int argc, char** argv) {
  namespace probe = qmasq::probe;
  CLI::App app{"A tenant program for the lab: does on purpose what ordinary programs do not"};
  app.require_subcommand(1);
  std::string device = "rxe0";
  app.add_option("--device", device, "RDMA device");
  int exit_code = 0;

  probe::ConnectOptions connect;
  auto* connect_command = app.add_subcommand("connect", "Point a QP at a GID and tell each errno");
  connect_command->add_option("--gid", connect.peer_gid, "Peer: address, GID, or self")->required();
  connect_command->add_option("--qpn", connect.peer_qpn, "Peer's QP number; 0: the QP's own");
  connect_command->add_option("--gid-index", connect.gid_index, "Index of the own GID");
  connect_command->add_option("--type", connect.type, "rc, uc, ud, xrc or raw");
  connect_command->add_option("--hold", connect.hold_seconds, "Keep the QP so many seconds");
  connect_command->add_flag("--insist", connect.insist,
                            "Widen the access flags; take the QP up again once it is cut");
  connect_command->add_option("--rounds", connect.rounds, "Do it so many times");
  connect_command->callback([&] {
    connect.device = device;
    exit_code = probe::connect(connect);
  });
  app.add_subcommand("identity", "Tell all addresses that can be asked for")->callback([&] {
    exit_code = probe::identity(device);
  });
  int seconds = 5;
  auto* flood_command = app.add_subcommand("flood", "Make control verbs as fast as possible");
  flood_command->add_option("--seconds", seconds, "For how long");
  flood_command->callback([&] { exit_code = probe::flood(device, seconds); });
  probe::EndureOptions endure;
  auto* endure_command =
      app.add_subcommand("endure", "Connect QPs all the time; tell what failed and what took long");
  endure_command->add_option("--gid", endure.peer_gid, "Peer: address or GID")->required();
  endure_command->add_option("--forbidden", endure.forbidden_gid, "Peer that rules forbid");
  endure_command->add_option("--seconds", endure.seconds, "For how long, or until SIGTERM");
  endure_command->callback([&] {
    endure.device = device;
    exit_code = probe::endure(endure);
  });
  std::string crowd_peer;
  int crowd_count = 1;
  auto* crowd_command = app.add_subcommand("crowd", "Connect many QPs and tell when each dies");
  crowd_command->add_option("--gid", crowd_peer, "Peer: address or GID")->required();
  crowd_command->add_option("--count", crowd_count, "How many");
  crowd_command->add_option("--seconds", seconds, "How long to wait for it");
  crowd_command->callback(
      [&] { exit_code = probe::crowd(device, crowd_peer, crowd_count, seconds); });
  probe::HoardOptions hoard;
  auto* hoard_command = app.add_subcommand("hoard", "Make objects of one kind until one fails");
  hoard_command->add_option("--kind", hoard.kind, "cq, mr, qp or srq")
      ->check(CLI::IsMember({"cq", "mr", "qp", "srq"}));
  hoard_command->add_option("--count", hoard.count, "At most so many");
  hoard_command->add_option("--churn", hoard.churn, "Make and destroy so many before");
  hoard_command->add_flag("--bad", hoard.bad, "Between two, register what is not mapped");
  hoard_command->add_option("--bytes", hoard.bytes, "Size of a memory region");
  hoard_command->add_option("--hold", hoard.hold_seconds, "Keep them so many seconds");
  hoard_command->callback([&] {
    hoard.device = device;
    exit_code = probe::hoard(hoard);
  });
  app.add_subcommand("hostile", "Send broken arguments and tell each errno")->callback([&] {
    exit_code = probe::hostile(device);
  });
  probe::RaceOptions breakout;
  auto declare_breakout = [&](const char* name, const char* text, auto run) {
    auto* command = app.add_subcommand(name, text);
    command->add_option("--gid", breakout.peer_gid, "Peer, as the wire knows it")->required();
    command->add_option("--gid-index", breakout.gid_index, "In the device's own table");
    command->add_option("--rounds", breakout.rounds, "Try so many times");
    command->add_option("--hold", breakout.hold_seconds, "Keep the QP so many seconds");
    command->callback([&, run] {
      breakout.device = device;
      exit_code = run(breakout);
    });
  };
  declare_breakout("race", "Make MODIFY_QP of an admitted REG_MR", probe::race);
  declare_breakout("legacy", "MODIFY_QP by write()", probe::legacy);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
