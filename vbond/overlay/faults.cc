// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/faults.h"

#include <algorithm>
#include <utility>

namespace qmasq::vbond {

void Faults::add(const std::string& object, Fault fault) {
  if (faults_.size() >= kMaxKept && faults_.count(object) == 0 && !fault.fatal) {
    ++dropped_;
    return;
  }
  faults_.insert_or_assign(object, std::move(fault));
}

std::optional<Faults::TimePoint> Faults::end(TimePoint now) {
  if (faults_.empty()) {
    delay_ = std::chrono::milliseconds{0};
    retry_at_.reset();
  } else {
    delay_ = delay_.count() == 0 ? kFirst : std::min(delay_ * 2, kLast);
    retry_at_ = now + delay_;
  }
  return retry_at_;
}

std::string Faults::text(EndpointUid endpoint) const {
  constexpr std::size_t kShown = 3;
  std::string text;
  std::size_t count = dropped_;
  for (const auto& [object, fault] : faults_) {
    if (fault.endpoint && *fault.endpoint != endpoint) continue;
    if (++count - dropped_ > kShown) continue;
    if (!text.empty()) text += "; ";
    text += fault.error.message;
  }
  if (count > kShown) text += "; and " + std::to_string(count - kShown) + " more";
  return text;
}

std::optional<Error> Faults::fatal(EndpointUid endpoint) const {
  for (const auto& [object, fault] : faults_) {
    if (fault.fatal && fault.endpoint == endpoint) return fault.error;
  }
  return std::nullopt;
}

}  // namespace qmasq::vbond
