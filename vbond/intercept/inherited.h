// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "common/unique_fd.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/kernel/verbs_device.h"
#include "vbond/rename/connection_journal.h"
#include "vbond/survival/custody.h"
#include "vbond/survival/tags.h"

namespace qmasq::vbond {

// What an agent leaves to the next one.
struct Inherited {
  struct Listener {
    ListenerTag tag;
    Custody::Ticket custody;
    std::unique_ptr<NotificationPort> port;
    // Invalid: its arguments are not sealed.
    UniqueFd sealed_writable;
    UniqueFd sealed_readable;
    Custody::Ticket writable_custody;
    Custody::Ticket readable_custody;
  };
  struct File {
    ContextTag tag;
    Custody::Ticket custody;
    std::unique_ptr<VerbsFile> file;
  };
  std::vector<Listener> listeners;
  std::vector<File> files;  // of these listeners
  // By context.
  std::unordered_map<std::uint64_t, std::vector<JournaledConnection>> connections;
};

}  // namespace qmasq::vbond
