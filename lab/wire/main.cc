// SPDX-License-Identifier: Apache-2.0
// qmasq-lab-wire SOCKET: the Ethernet switch of one lab. It runs until it is killed.
#include <iostream>

#include "lab/wire/switch.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: qmasq-lab-wire SOCKET\n";
    return 2;
  }
  auto wire = qmasq::lab::Switch::listen(argv[1]);
  if (wire) {
    const auto ended = wire->run();
    if (ended) return 0;
    std::cerr << "qmasq-lab-wire: " << ended.error().message << "\n";
  } else {
    std::cerr << "qmasq-lab-wire: " << wire.error().message << "\n";
  }
  return 1;
}
