// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "trust/tls.h"

int main(int argc, char** argv) {
  // As every program does that speaks TLS.
  qmasq::trust::require_tls13();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
