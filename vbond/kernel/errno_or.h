// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tl/expected.hpp>

namespace qmasq::vbond {

// A value, or the errno (positive) of the system call behind it. The seams of this folder answer
// for each trapped call of a tenant, mostly straight into a reply, so their errors carry no text.
template <typename T>
using ErrnoOr = tl::expected<T, int>;

}  // namespace qmasq::vbond
