// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"

// What every kind of request has: etags, request ids, field masks, pages, texts, numbers. Pure.
namespace qmasq::controller {

inline constexpr std::size_t kMaxDescription = 1024;  // bytes

[[nodiscard]] Status check_description(std::string_view text, std::string_view field);
[[nodiscard]] Status check_vni(std::uint32_t vni, std::string_view field);
// 0, or 1280 to 9000 bytes.
[[nodiscard]] Status check_mtu(std::uint32_t mtu, std::string_view field);
// Unicast and not zero.
[[nodiscard]] Result<Mac> check_mac(std::string_view text, std::string_view field);
// Empty, or a UUID in its 36 character form.
[[nodiscard]] Status check_request_id(std::string_view id);

// Opaque to callers; changes with every change of the object.
[[nodiscard]] std::string etag(std::uint64_t uid, std::uint64_t version);
// `given` empty: the caller does not mind. `name`: of the object, for the message.
[[nodiscard]] Status check_etag(std::string_view given, std::uint64_t uid, std::uint64_t version,
                                std::string_view name);

// The fields that an update touches: `paths`, or `defaults` when there are none. Refuses what is
// not in `allowed`.
[[nodiscard]] Result<std::vector<std::string>> check_mask(
    std::span<const std::string> paths, std::span<const std::string_view> allowed,
    std::span<const std::string_view> defaults);

// Negative is refused, 0 is 100, more than 1000 is 1000.
[[nodiscard]] Result<std::size_t> check_page_size(std::int32_t size);
// A token holds the key after which the next page starts and belongs to one list (`scope`: method,
// parent and filter). Any other text, or a token of another list, is refused.
[[nodiscard]] std::string make_page_token(std::string_view scope, std::string_view after);
[[nodiscard]] Result<std::string> read_page_token(std::string_view token, std::string_view scope);

}  // namespace qmasq::controller
