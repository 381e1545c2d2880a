// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "vbond/access/local_access.h"
#include "vbond/attach/attach_server.h"
#include "vbond/bond/binder.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/sysfs/gid_staging.h"

namespace qmasq::vbond {

class EndpointFiles;

// What happens when a program wants to run as a workload of an endpoint: it is asked whether it
// may, the endpoint is looked up, bound to its namespace, its GID files are written, and the
// program is told how to arrange its own world. Called from several threads at a time.
class AttachPlanner final : public AttachHandler {
 public:
  struct Parts {
    EndpointTable& endpoints;
    const LocalAccess& access;
    const NicTable& nics;
    EndpointFiles& files;
    // Binder::bind.
    std::function<Result<BoundNamespace>(EndpointUid)> bind;
    // NicWatcher::await, with its patience: the VPC's GIDs are there.
    std::function<bool(Vni)> await_vpc;
    // Number of an interface in a namespace (descriptor).
    std::function<Result<std::uint32_t>(int netns, const std::string& interface)> interface_index;
    // Interceptor::attach.
    std::function<Status(std::unique_ptr<NotificationPort>, EndpointUid, pid_t, std::string,
                         std::uint64_t kept_below)>
        attach;
    // Name of an RDMA device's node ("rxe0" -> "uverbs0"), empty if it has none.
    std::function<std::string(const std::string& device)> node_of;
  };
  struct Options {
    unsigned reserved_first = 0;
    unsigned reserved_count = 0;
    std::set<std::string, std::less<>> tenant_opens;
    std::string device_directory = "/dev/infiniband";
    // Directories that programs shall find empty: sockets, keys, journals.
    std::vector<std::string> hidden;
  };
  AttachPlanner(Parts parts, Options options);

  [[nodiscard]] Result<Offer> offer(const std::string& endpoint, const AttachPeer& peer) override;
  [[nodiscard]] Status attached(EndpointUid endpoint, const AttachPeer& peer,
                                std::unique_ptr<NotificationPort> port) override;

  // For programs that attached to an agent before this one: the endpoint's interface and GID files
  // as an offer makes them. Nobody asks, so nobody is asked for.
  [[nodiscard]] Status restore(EndpointUid endpoint);

 private:
  struct Prepared {
    BoundNamespace bound;
    std::vector<StagedMount> mounts;
  };
  [[nodiscard]] Result<Prepared> prepare(const LocalEndpoint& endpoint);
  void add_device_mounts(AttachTerms& terms) const;

  const Parts parts_;
  const Options options_;
};

}  // namespace qmasq::vbond
