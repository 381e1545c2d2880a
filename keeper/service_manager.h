// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "common/unique_fd.h"

namespace qmasq::keeper {

// What another process of this service left with the service manager, by the name it gave it.
struct Stored {
  std::string name;
  UniqueFd descriptor;
};

// systemd, as sd_notify(3) and sd_listen_fds(3) describe it: it holds descriptors for us while we
// are started again. Without it (no NOTIFY_SOCKET) all of this does nothing. Single-threaded; never
// blocks but in flush(): what systemd has no room for now waits here, in order.
class ServiceManager {
 public:
  // Takes over what LISTEN_FDS says was passed to this process.
  [[nodiscard]] static std::vector<Stored> inherit();

  ServiceManager();

  [[nodiscard]] bool present() const { return !address_.empty(); }
  // A duplicate of `descriptor`. systemd keeps each open file once: of two of one file it has the
  // first alone.
  void store(const std::string& name, int descriptor);
  void remove(const std::string& name);
  // "READY=1", "STATUS=..."
  void tell(std::string lines);

  // Sends what waits as far as there is room.
  void send_some();
  // To wait for room (POLLOUT); -1: nothing waits.
  [[nodiscard]] int waits_on() const;
  // Sends all, for up to a second.
  void flush();

 private:
  struct Note {
    std::string lines;
    UniqueFd descriptor;  // sent with it, if valid
  };
  // errno; EAGAIN: no room.
  [[nodiscard]] int send(const Note& note);
  void add(Note note);

  std::string address_;  // as in sun_path
  UniqueFd socket_;
  std::deque<Note> waiting_;
};

}  // namespace qmasq::keeper
