// SPDX-License-Identifier: Apache-2.0
#include "vbond/access/tenancy.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace qmasq::vbond {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The value of "Name:\tVALUE\n", or empty.
std::string_view field(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.size() > name.size() + 1 && line.substr(0, name.size()) == name &&
        line[name.size()] == ':') {
      line.remove_prefix(name.size() + 1);
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      return line;
    }
    at = end + 1;
  }
  return {};
}

bool same_network(pid_t pid) {
  struct stat own {};
  struct stat its {};
  return ::stat("/proc/self/ns/net", &own) == 0 &&
         ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &its) == 0 &&
         own.st_ino == its.st_ino && own.st_dev == its.st_dev;
}

}  // namespace

SandboxMarks parse_status(std::string_view text) {
  std::string_view privs = field(text, "NoNewPrivs");
  std::string_view seccomp = field(text, "Seccomp");
  SandboxMarks marks;
  marks.found = !privs.empty() && !seccomp.empty();
  marks.no_new_privs = privs == "1";
  marks.filtered = seccomp == "2";
  return marks;
}

bool may_be_tenant(pid_t pid) {
  if (same_network(pid)) return false;
  SandboxMarks marks = parse_status(read(fmt::format("/proc/{}/status", pid)));
  return !marks.found || (marks.no_new_privs && marks.filtered);
}

}  // namespace qmasq::vbond
