// SPDX-License-Identifier: Apache-2.0
#include "controller/model/interval_set.h"

#include <iterator>

namespace qmasq::controller {

IntervalSet::Spans::const_iterator IntervalSet::holding(U128 value) const {
  auto after = spans_.upper_bound(value);
  if (after == spans_.begin()) return spans_.end();
  auto span = std::prev(after);
  return value <= span->second ? span : spans_.end();
}

bool IntervalSet::contains(U128 value) const {
  return holding(value) != spans_.end();
}

bool IntervalSet::insert(U128 value) {
  auto after = spans_.upper_bound(value);
  U128 first = value;
  U128 last = value;
  if (after != spans_.begin()) {
    auto before = std::prev(after);
    if (value <= before->second) return false;
    if (before->second + 1 == value) first = before->first;
  }
  if (after != spans_.end() && value + 1 == after->first) {
    last = after->second;
    spans_.erase(after);
  }
  spans_[first] = last;
  return true;
}

bool IntervalSet::erase(U128 value) {
  auto span = holding(value);
  if (span == spans_.end()) return false;
  auto [first, last] = *span;
  spans_.erase(span);
  if (first < value) spans_[first] = value - 1;
  if (value < last) spans_[value + 1] = last;
  return true;
}

std::optional<U128> IntervalSet::lowest_missing(U128 first, U128 last) const {
  if (first > last) return std::nullopt;
  auto span = holding(first);
  if (span == spans_.end()) return first;
  // Neighbours are merged: the number after a span is free, unless there is none.
  if (span->second >= last) return std::nullopt;
  return span->second + 1;
}

}  // namespace qmasq::controller
