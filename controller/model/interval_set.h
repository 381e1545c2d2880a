// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <optional>

namespace qmasq::controller {

using U128 = unsigned __int128;

// A set of numbers kept as merged intervals, so that the lowest number that is not in it is found
// in logarithmic time however many are. Pure, not thread-safe.
class IntervalSet {
 public:
  // False: it was there already.
  bool insert(U128 value);
  // False: it was not there.
  bool erase(U128 value);
  [[nodiscard]] bool contains(U128 value) const;
  // The lowest number in [first, last] that is not in the set.
  [[nodiscard]] std::optional<U128> lowest_missing(U128 first, U128 last) const;
  [[nodiscard]] std::size_t intervals() const { return spans_.size(); }
  [[nodiscard]] bool empty() const { return spans_.empty(); }

 private:
  using Spans = std::map<U128, U128>;  // first -> last, both included
  [[nodiscard]] Spans::const_iterator holding(U128 value) const;

  Spans spans_;
};

}  // namespace qmasq::controller
