// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstring>

#include "tests/lab/probe/probe.h"

namespace qmasq::probe {

Context open_device(const std::string& name) {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  Context context;
  int err = ENODEV;
  for (int i = 0; devices != nullptr && i < count; ++i) {
    if (name != ibv_get_device_name(devices[i])) continue;
    context.reset(ibv_open_device(devices[i]));
    err = errno;
  }
  if (devices != nullptr) ibv_free_device_list(devices);
  errno = err;
  return context;
}

std::string errno_name(int err) {
  const char* name = err == 0 ? "0" : strerrorname_np(err);
  return name != nullptr ? name : std::to_string(err);
}

}  // namespace qmasq::probe
