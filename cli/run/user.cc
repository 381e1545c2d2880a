// SPDX-License-Identifier: Apache-2.0
#include "cli/run/user.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>

namespace qmasq::cli {
namespace {

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  // -1 means "leave it" to the kernel.
  if (error != std::errc{} || end != text.data() + text.size() || out == UINT32_MAX) return {};
  return out;
}

tl::unexpected<Error> unknown(std::string_view what, std::string_view name) {
  return fail(Code::kNotFound, fmt::format("there is no {} '{}' on this host", what, name),
              "--user");
}

}  // namespace

Result<User> parse_user(std::string_view text) {
  std::size_t colon = text.find(':');
  std::string name(text.substr(0, colon));
  User user;
  // The process is single-threaded here, so the plain calls do.
  const passwd* entry = ::getpwnam(name.c_str());
  auto uid = number(name);
  if (entry == nullptr && uid) entry = ::getpwuid(*uid);
  if (entry != nullptr) {
    user.uid = entry->pw_uid;
    user.gid = entry->pw_gid;
    user.home = entry->pw_dir;
    int count = 256;
    user.groups.resize(static_cast<std::size_t>(count));
    if (::getgrouplist(entry->pw_name, entry->pw_gid, user.groups.data(), &count) < 0) {
      return fail(Code::kUnsupported, fmt::format("user '{}' is in more than 256 groups", name),
                  "--user");
    }
    user.groups.resize(static_cast<std::size_t>(count));
  } else if (uid) {
    user.uid = *uid;
    user.gid = *uid;
    user.groups = {user.gid};
  } else {
    return unknown("user", name);
  }
  if (colon != std::string_view::npos) {
    std::string group(text.substr(colon + 1));
    if (const struct group* known = ::getgrnam(group.c_str())) {
      user.gid = known->gr_gid;
    } else if (auto gid = number(group)) {
      user.gid = *gid;
    } else {
      return unknown("group", group);
    }
    user.groups = {user.gid};
  }
  return user;
}

Status become(const User& user) {
  if (::setgroups(user.groups.size(), user.groups.data()) != 0) {
    return fail_errno(errno, "cannot set the groups");
  }
  if (::setresgid(user.gid, user.gid, user.gid) != 0) {
    return fail_errno(errno, fmt::format("cannot become group {}", user.gid));
  }
  if (::setresuid(user.uid, user.uid, user.uid) != 0) {
    return fail_errno(errno, fmt::format("cannot become user {}", user.uid));
  }
  return {};
}

}  // namespace qmasq::cli
