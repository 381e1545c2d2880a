// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/rates.h"

#include <algorithm>

namespace qmasq::qos::devlink {

Result<Handle> parse_handle(const std::string& text) {
  // As devlink(8) splits it: the device's own name may hold slashes.
  auto slash = text.find('/');
  bool odd = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' '; });
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size() || odd) {
    return fail(Code::kInvalidArgument,
                "'" + text + "' is not a devlink device: expected BUS/DEVICE, as " +
                    "pci/0000:03:00.0 (`devlink dev` lists them)",
                "handle");
  }
  return Handle{text.substr(0, slash), text.substr(slash + 1)};
}

std::string to_string(const Handle& handle) {
  return handle.bus + "/" + handle.device;
}

std::string to_string(const RateId& id) {
  return id.kind == RateId::Kind::kLeaf ? "port " + std::to_string(id.port) : "node " + id.name;
}

}  // namespace qmasq::qos::devlink
