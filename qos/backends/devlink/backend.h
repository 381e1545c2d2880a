// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/net_types.h"
#include "common/result.h"
#include "qos/backend.h"
#include "qos/backends/devlink/rates.h"

// Limits of endpoints that have a port of their own on the NIC's switch: a virtual function (VF) or
// a subfunction (SF). Their shaping is done by the NIC, below anything a tenant can reach.
// docs/adr/0015-devlink-rate.md.
//
// What a plan's nodes are in devlink:
//   NIC, other   nothing: the NIC's node is the wire, packets of nobody come from no port of ours
//   VPC          a node "qmasq-vpc-UID": the name is the mark by which it is known as ours
//   endpoint     the leaf of its port, with the VPC's node as parent: that is its mark
// Guarantees of kLeastGuarantee or less, which stand for none, and those of nodes without any are
// no tx_share. A leaf with limits or a parent of somebody else's is the site's: it is not touched,
// and the endpoint's step fails. Limits of a node of ours are what we say, whoever changed them.
namespace qmasq::qos::devlink {

// mlx5 and netdevsim refuse what is not a multiple of 1 Mbit/s (drivers/net/ethernet/mellanox/
// mlx5/core/esw/qos.c MLX5_LINKSPEED_UNIT), and rates above the link's.
inline constexpr BitsPerSecond kGranularity{1'000'000};

// What readback() says of nodes that devlink does not limit: the highest rate there is.
inline constexpr BitsPerSecond kUnlimited{10'000'000'000'000};

struct Options {
  std::string handle;  // the switch's device: "pci/0000:03:00.0"
  // Index of the port that an endpoint has there (`devlink port`). Nothing: none; then its steps
  // fail with kFailedPrecondition, and its limits are nobody's.
  std::function<std::optional<std::uint32_t>(EndpointUid)> port_of;
  // The other way, which readback() needs. Nothing: no endpoint has that port now.
  std::function<std::optional<EndpointUid>(std::uint32_t)> endpoint_of;
};

// On the running kernel. Errors: those of parse_handle() and open_kernel_rates(). A device in
// legacy mode is no error: its leaves may come later; steps fail until then.
//
// Of the interface (qos/backend.h): readback() after a restart cannot know the nodes of the NIC and
// of `other`: as soon as anything of ours is there, it gives them kUnlimited, no burst, no weight.
// It gives burst, ports and, where the kernel has no weights, weights as this object programmed
// them last, none where it did not. capabilities() may lose `guarantee` or `weight` when the driver
// first refuses one: the node is then programmed without. A removal and an addition of one endpoint
// in one program() leave its limits on in between.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_devlink_backend(Options options);

// On any kernel. Reads its objects once, to see what it offers.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_devlink_backend(Options options,
                                                                    std::unique_ptr<Rates> rates);

}  // namespace qmasq::qos::devlink
