// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

namespace qmasq::vbond {

class Attachment;
struct Context;
struct Services;

// Ends a program that broke out: closes `context` and then all its contexts, so that no queue pair
// of it is left, and kills whoever has one of them open, the program that attached, and what it
// started. What it left behind without any of that dies at its next trapped call. Returns how many
// processes were killed. Takes as long as closing takes, at most some seconds more.
std::size_t end_workload(Services& services, Attachment& attachment,
                         const std::shared_ptr<Context>& context);

}  // namespace qmasq::vbond
