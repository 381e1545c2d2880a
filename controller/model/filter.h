// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace qmasq::controller {

// FIELD=VALUE terms joined by " AND "; a trailing * in VALUE matches any rest. Pure.
class Filter {
 public:
  // Refuses fields that are not in `fields` and what it cannot read, with field "filter".
  static Result<Filter> parse(std::string_view text, std::span<const std::string_view> fields);

  // `values(field)` gives all values that the object has in that field; one that matches will do.
  using Values = std::function<std::vector<std::string>(std::string_view field)>;
  [[nodiscard]] bool matches(const Values& values) const;
  // The value of the first term FIELD=VALUE without a star, for lists that have an index on it.
  [[nodiscard]] const std::string* exact(std::string_view field) const;
  [[nodiscard]] bool empty() const { return terms_.empty(); }

 private:
  struct Term {
    std::string field;
    std::string value;
    bool prefix = false;
  };
  std::vector<Term> terms_;
};

}  // namespace qmasq::controller
