// SPDX-License-Identifier: Apache-2.0
// Looks for given texts wherever a program can read: files below folders, answers of verbs and
// their error texts, routing netlink. Bytes are looked for, too: a mark "hex:c0a84d0b" is four.
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"

namespace qmasq::attack {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const std::string& mark) {
  constexpr std::string_view kHex = "hex:";
  if (!mark.starts_with(kHex)) return mark;
  std::string out;
  for (std::size_t i = kHex.size(); i + 1 < mark.size(); i += 2)
    out += static_cast<char>(std::stoi(mark.substr(i, 2), nullptr, 16));
  return out;
}

class Search {
 public:
  explicit Search(const std::vector<std::string>& marks) {
    for (const std::string& mark : marks)
      marks_.push_back({mark, bytes_of(mark)});
  }
  void in(const std::string& where, std::string_view text) {
    ++places_;
    for (const auto& [name, bytes] : marks_) {
      if (text.find(bytes) != std::string_view::npos && found_.size() < 500)
        found_.push_back(std::string(where).append(": ").append(name));
    }
  }
  template <typename T>
  void in_object(const std::string& where, const T& object) {
    in(where, {reinterpret_cast<const char*>(&object), sizeof object});
  }
  [[nodiscard]] const std::vector<std::string>& found() const { return found_; }
  [[nodiscard]] std::size_t places() const { return places_; }

 private:
  std::vector<std::pair<std::string, std::string>> marks_;
  std::vector<std::string> found_;
  std::size_t places_ = 0;
};

void look_at_file(Search& search, const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return;
  std::array<char, 65536> text{};
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(fd, text.data() + have, text.size() - have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  ::close(fd);
  if (have > 0) search.in(path, {text.data(), have});
}

void look_below(Search& search, const fs::path& root) {
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    look_at_file(search, root);
    return;
  }
  constexpr auto kOptions = fs::directory_options::skip_permission_denied;
  fs::recursive_directory_iterator at(root, kOptions, error);
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    search.in(at->path(), at->path().filename().native());
    if (at->is_symlink(ignored)) {
      // Not followed, but where it leads is a text as well.
      search.in(at->path(), fs::read_symlink(at->path(), ignored).native());
    } else if (at->is_regular_file(ignored)) {
      look_at_file(search, at->path());
    }
  }
}

void look_at_netlink(Search& search, std::uint16_t type, const char* name) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  struct {
    nlmsghdr header{};
    rtgenmsg body{};
  } request;
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.body);
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  if (::send(fd, &request, request.header.nlmsg_len, 0) > 0) {
    std::array<char, 32768> answer{};
    for (;;) {
      const ssize_t got = ::recv(fd, answer.data(), answer.size(), 0);
      if (got <= 0) break;
      search.in(name, {answer.data(), static_cast<std::size_t>(got)});
      if (reinterpret_cast<const nlmsghdr*>(answer.data())->nlmsg_type == NLMSG_DONE) break;
    }
  }
  ::close(fd);
}

void look_at_verbs(Search& search, const std::string& device, const Target& peer) {
  Rig rig(device);
  search.in("opening the device", rig.error());
  if (!rig.error().empty()) return;
  ibv_device_attr_ex attributes{};
  (void)ibv_query_device_ex(rig.context(), nullptr, &attributes);
  search.in_object("QUERY_DEVICE", attributes);
  ibv_port_attr port{};
  (void)ibv_query_port(rig.context(), kPort, &port);
  search.in_object("QUERY_PORT", port);
  for (std::uint32_t i = 0; i < 1024; ++i) {
    ibv_gid_entry entry{};
    if (ibv_query_gid_ex(rig.context(), kPort, i, &entry, 0) == 0)
      search.in_object("QUERY_GID_ENTRY", entry);
  }
  std::array<ibv_gid_entry, 256> table{};
  (void)ibv_query_gid_table(rig.context(), table.data(), table.size(), 0);
  search.in_object("QUERY_GID_TABLE", table);
  for (int i = -1; i < 4; ++i) {
    Target other = peer;
    if (i >= 0) other.gid_index = static_cast<std::uint8_t>(i);
    (void)rig.new_qp();
    if (to_rtr(rig.qp(), other) != 0) continue;
    ib_uverbs_query_qp query{};
    ib_uverbs_query_qp_resp answer{};
    query.qp_handle = rig.qp()->handle;
    query.attr_mask = 0x1fffff;
    std::array<std::byte, 64> driver{};
    Invoke request{};
    request.set(IB_USER_VERBS_CMD_QUERY_QP, &query, sizeof query, &answer, sizeof answer,
                driver.data());
    (void)submit(rig.fd(), &request);
    search.in_object("QUERY_QP", answer);
  }
  // Queues, work requests and all that the library keeps of the kernel's answers.
  look_below(search, "/proc/self/fdinfo");
}

}  // namespace

int leaks(const std::string& device, const Target& peer, const std::vector<std::string>& roots) {
  // Not as arguments: a process's own are among what is searched.
  std::vector<std::string> marks;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty()) marks.push_back(line);
  }
  Search search(marks);
  look_at_verbs(search, device, peer);
  look_at_netlink(search, RTM_GETLINK, "netlink links");
  look_at_netlink(search, RTM_GETADDR, "netlink addresses");
  look_at_netlink(search, RTM_GETNEIGH, "netlink neighbours");
  look_at_netlink(search, RTM_GETROUTE, "netlink routes");
  for (const std::string& root : roots)
    look_below(search, root);
  nlohmann::ordered_json out;
  out["places"] = search.places();
  out["found"] = search.found();
  // A path may hold bytes that are no UTF-8.
  std::printf("%s\n", out.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).c_str());
  return 0;
}

}  // namespace qmasq::attack
