// SPDX-License-Identifier: Apache-2.0
#include "cli/users.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <optional>

namespace qmasq::cli {
namespace {

// Empty: it is no number. -1 means "leave it" to the kernel; nobody has it.
std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end != text.data() + text.size() || out == UINT32_MAX) return {};
  return out;
}

tl::unexpected<Error> unknown(std::string_view what, std::string_view name) {
  return fail(Code::kNotFound,
              fmt::format("this machine knows no {} '{}'; its number will do as well", what, name));
}

}  // namespace

Result<std::uint32_t> parse_user_id(std::string_view text) {
  if (auto id = number(text)) return *id;
  const passwd* entry = ::getpwnam(std::string(text).c_str());
  if (entry == nullptr) return unknown("user", text);
  return entry->pw_uid;
}

Result<std::uint32_t> parse_group_id(std::string_view text) {
  if (auto id = number(text)) return *id;
  const group* entry = ::getgrnam(std::string(text).c_str());
  if (entry == nullptr) return unknown("group", text);
  return entry->gr_gid;
}

std::string user_text(std::uint32_t id) {
  const passwd* entry = ::getpwuid(id);
  return entry == nullptr ? std::to_string(id) : fmt::format("{} ({})", id, entry->pw_name);
}

std::string group_text(std::uint32_t id) {
  const group* entry = ::getgrgid(id);
  return entry == nullptr ? std::to_string(id) : fmt::format("{} ({})", id, entry->gr_name);
}

}  // namespace qmasq::cli
