// SPDX-License-Identifier: Apache-2.0
#include "controller/model/filter.h"

#include <fmt/format.h>

#include <algorithm>

namespace qmasq::controller {
namespace {

constexpr std::size_t kMaxFilter = 1024;
constexpr std::string_view kAnd = " AND ";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  return text;
}

}  // namespace

Result<Filter> Filter::parse(std::string_view text, std::span<const std::string_view> fields) {
  Filter filter;
  auto refuse = [](std::string message) {
    return fail(Code::kInvalidArgument, std::move(message), "filter");
  };
  if (text.size() > kMaxFilter) return refuse(fmt::format("longer than {} bytes", kMaxFilter));
  text = trimmed(text);
  while (!text.empty()) {
    auto split = text.find(kAnd);
    std::string_view part = trimmed(text.substr(0, split));
    auto equals = part.find('=');
    if (equals == std::string_view::npos) {
      return refuse(fmt::format("'{}' is not FIELD=VALUE (terms are joined by AND)", part));
    }
    Term term{std::string(trimmed(part.substr(0, equals))),
              std::string(trimmed(part.substr(equals + 1))), false};
    if (std::find(fields.begin(), fields.end(), term.field) == fields.end()) {
      return refuse(fmt::format("'{}' is no field to filter by: one of {}", term.field,
                                fmt::join(fields, ", ")));
    }
    if (term.value.find(' ') != std::string::npos) {
      return refuse(fmt::format("'{}': a value has no spaces (terms are joined by AND)", part));
    }
    if (term.value.empty()) return refuse(fmt::format("'{}' has no value", term.field));
    if (term.value.back() == '*') {
      term.prefix = true;
      term.value.pop_back();
    }
    if (term.value.find('*') != std::string::npos) {
      return refuse(fmt::format("'{}': a * may only be the last character", part));
    }
    filter.terms_.push_back(std::move(term));
    if (split == std::string_view::npos) break;
    text.remove_prefix(split + kAnd.size());
    if (trimmed(text).empty()) return refuse("nothing follows the last AND");
  }
  return filter;
}

bool Filter::matches(const Values& values) const {
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    auto have = values(term.field);
    return std::any_of(have.begin(), have.end(), [&](const std::string& value) {
      return term.prefix ? value.starts_with(term.value) : value == term.value;
    });
  });
}

const std::string* Filter::exact(std::string_view field) const {
  for (const auto& term : terms_) {
    if (term.field == field && !term.prefix) return &term.value;
  }
  return nullptr;
}

}  // namespace qmasq::controller
