// SPDX-License-Identifier: Apache-2.0
#include "tests/fake_netlink/contract.h"
#include "tests/fake_netlink/fake_kernel.h"

namespace qmasq::test {

INSTANTIATE_TEST_SUITE_P(Fake, NetlinkContract, ::testing::Values(NamespacesFactory([] {
                           return std::make_unique<FakeKernel>();
                         })));

}  // namespace qmasq::test
