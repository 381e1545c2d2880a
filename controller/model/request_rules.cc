// SPDX-License-Identifier: Apache-2.0
#include "controller/model/request_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace qmasq::controller {
namespace {

constexpr std::size_t kMaxToken = 1024;

// FNV-1a, 64 bits: tells tokens of different lists apart. Not a secret and not a signature: a
// forged token only starts a page somewhere else.
std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (char c : text)
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

std::string joined(std::span<const std::string_view> words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace

Status check_description(std::string_view text, std::string_view field) {
  if (text.size() <= kMaxDescription) return {};
  return fail(Code::kInvalidArgument,
              fmt::format("{} bytes: at most {}", text.size(), kMaxDescription),
              std::string(field));
}

Status check_vni(std::uint32_t vni, std::string_view field) {
  if (vni >= 1 && vni <= kMaxVni) return {};
  return fail(Code::kInvalidArgument, fmt::format("{} is no VNI: 1 to {}", vni, kMaxVni),
              std::string(field));
}

Status check_mtu(std::uint32_t mtu, std::string_view field) {
  if (mtu == 0 || (mtu >= 1280 && mtu <= 9000)) return {};
  return fail(Code::kInvalidArgument,
              fmt::format("{} bytes: 1280 to 9000, or 0 to follow each host's underlay", mtu),
              std::string(field));
}

Result<Mac> check_mac(std::string_view text, std::string_view field) {
  auto mac = parse_mac(text.substr(0, 64));
  if (!mac) {
    Error error = std::move(mac).error();
    error.field = field;
    return tl::unexpected<Error>(std::move(error));
  }
  if (mac->is_zero()) {
    return fail(Code::kInvalidArgument, "the all-zero MAC address cannot be used",
                std::string(field));
  }
  if (mac->is_multicast()) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} is a multicast address: the lowest bit of the first byte must be 0",
                            to_string(*mac)),
                std::string(field));
  }
  return *mac;
}

Status check_request_id(std::string_view id) {
  if (id.empty()) return {};
  bool good = id.size() == 36;
  for (std::size_t i = 0; good && i < id.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    bool hex = (id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f') ||
               (id[i] >= 'A' && id[i] <= 'F');
    good = dash ? id[i] == '-' : hex;
  }
  if (good) return {};
  return fail(Code::kInvalidArgument,
              "a request id is a UUID (123e4567-e89b-12d3-a456-426614174000)", "request_id");
}

std::string etag(std::uint64_t uid, std::uint64_t version) {
  return fmt::format("{:x}-{:x}", uid, version);
}

Status check_etag(std::string_view given, std::uint64_t uid, std::uint64_t version,
                  std::string_view name) {
  if (given.empty() || given == etag(uid, version)) return {};
  return fail(Code::kFailedPrecondition,
              fmt::format("{} was changed by somebody else since you read it: read it again, and "
                          "send the etag you then get",
                          name),
              "etag");
}

Result<std::vector<std::string>> check_mask(std::span<const std::string> paths,
                                            std::span<const std::string_view> allowed,
                                            std::span<const std::string_view> defaults) {
  if (paths.empty()) return std::vector<std::string>(defaults.begin(), defaults.end());
  std::vector<std::string> out;
  for (const auto& path : paths) {
    if (std::find(allowed.begin(), allowed.end(), path) == allowed.end()) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("'{}' cannot be updated: one of {}", path.substr(0, 64), joined(allowed)),
          "update_mask");
    }
    if (std::find(out.begin(), out.end(), path) == out.end()) out.push_back(path);
  }
  return out;
}

Result<std::size_t> check_page_size(std::int32_t size) {
  if (size < 0) return fail(Code::kInvalidArgument, "must not be negative", "page_size");
  if (size == 0) return 100;
  return std::min<std::size_t>(static_cast<std::size_t>(size), 1000);
}

std::string make_page_token(std::string_view scope, std::string_view after) {
  std::string token = fmt::format("{:016x}", fingerprint(scope));
  for (char c : after)
    fmt::format_to(std::back_inserter(token), "{:02x}", static_cast<uint8_t>(c));
  return token;
}

Result<std::string> read_page_token(std::string_view token, std::string_view scope) {
  if (token.empty()) return std::string();
  auto wrong = [] {
    return fail(Code::kInvalidArgument,
                "this is not the next_page_token of a page of the same list with the same filter",
                "page_token");
  };
  if (token.size() < 16 || token.size() > kMaxToken || token.size() % 2 != 0) return wrong();
  if (token.substr(0, 16) != fmt::format("{:016x}", fingerprint(scope))) return wrong();
  std::string after;
  for (std::size_t i = 16; i < token.size(); i += 2) {
    std::uint8_t byte = 0;
    const char* first = token.data() + i;
    auto [end, error] = std::from_chars(first, first + 2, byte, 16);
    if (error != std::errc{} || end != first + 2) return wrong();
    after += static_cast<char>(byte);
  }
  return after;
}

}  // namespace qmasq::controller
