// SPDX-License-Identifier: Apache-2.0
#include "common/version.h"

namespace qmasq {

std::string_view version() {
  return QMASQ_VERSION;
}

}  // namespace qmasq
