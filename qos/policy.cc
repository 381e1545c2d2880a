// SPDX-License-Identifier: Apache-2.0
#include "qos/policy.h"

namespace qmasq::qos {

const char* to_string(Resource resource) {
  switch (resource) {
    case Resource::kQueuePairs:
      return "queue_pairs";
    case Resource::kCompletionQueues:
      return "completion_queues";
    case Resource::kMemoryRegions:
      return "memory_regions";
    case Resource::kSharedReceiveQueues:
      return "shared_receive_queues";
    case Resource::kPinnedBytes:
      return "pinned_bytes";
  }
  return "?";
}

const char* to_string(VerbKind kind) {
  switch (kind) {
    case VerbKind::kContexts:
      return "contexts";
    case VerbKind::kQueuePairs:
      return "queue_pairs";
    case VerbKind::kConnects:
      return "connects";
    case VerbKind::kVerbs:
      return "verbs";
  }
  return "?";
}

}  // namespace qmasq::qos
