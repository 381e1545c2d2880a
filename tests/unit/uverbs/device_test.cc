// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/device.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/uverbs/wire.h"

namespace qmasq::vbond::uverbs {
namespace {

// struct ib_uverbs_gid_entry: gid in network order, gid_index, port_num, gid_type, netdev_ifindex.
constexpr std::uint8_t kEntry[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff,
                                   0xff, 0x0a, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00,
                                   0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00};

GidEntry golden_entry() {
  return {Gid::from_ip(IpAddress::from_v4(0x0a000001)), 1, 1, GidType::kRoceV2, 7};
}

TEST(GidEntryTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kEntry);
  auto got = decode_gid_entry(bytes);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, golden_entry());
  const auto written = encode_gid_entry(golden_entry());
  EXPECT_TRUE(std::equal(written.begin(), written.end(), bytes.begin(), bytes.end()));
  EXPECT_EQ(decode_gid_entry(std::span(bytes).first(31)).error(), EINVAL);
}

TEST(GidTableTest, EntriesLieAtTheTenantsDistance) {
  GidEntry second = golden_entry();
  second.gid_index = 2;
  const GidEntry entries[] = {golden_entry(), second};
  const auto golden = bytes_of(kEntry);

  for (const std::size_t size : {16, 24, 32, 40}) {
    std::vector<std::byte> out(3 * size, std::byte{0xee});
    auto used = encode_gid_table(entries, size, out);
    ASSERT_TRUE(used) << size;
    EXPECT_EQ(*used, 2 * size);
    const std::size_t shown = std::min<std::size_t>(size, 32);
    EXPECT_TRUE(std::equal(golden.begin(), golden.begin() + shown, out.begin())) << size;
    for (std::size_t i = shown; i < size; ++i)
      EXPECT_EQ(out[i], std::byte{0}) << size;
    if (size >= 20) {
      EXPECT_EQ(peek<std::uint32_t>(out, size + 16), 2U);
    }
    for (std::size_t i = 2 * size; i < out.size(); ++i)
      EXPECT_EQ(out[i], std::byte{0xee});
  }
}

TEST(GidTableTest, RefusesWhatTheKernelRefuses) {
  const GidEntry entries[] = {golden_entry(), golden_entry()};
  std::vector<std::byte> out(64);
  EXPECT_EQ(encode_gid_table(entries, 0, out).error(), EINVAL);
  EXPECT_EQ(encode_gid_table(entries, 65, out).error(), EINVAL);  // no room for one
  EXPECT_EQ(encode_gid_table(entries, 33, out).error(), EINVAL);  // room for one
  EXPECT_EQ(encode_gid_table(entries, ~std::uint64_t{0}, out).error(), EINVAL);
  EXPECT_EQ(encode_gid_table({}, 32, out), 0U);
  EXPECT_EQ(encode_gid_table({}, 32, {}).error(), EINVAL);
}

// struct ib_uverbs_query_port_resp_ex: port_cap_flags, max_msg_sz, two counters, gid_tbl_len at 16,
// pkey_tbl_len at 20, lid, sm_lid, state at 26, max_mtu, active_mtu, lmc, max_vl_num, sm_sl,
// subnet_timeout, init_type_reply, active_width, active_speed, phys_state, link_layer at 37, flags,
// reserved; port_cap_flags2 at 40.
constexpr std::uint8_t kPort[] = {
    0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x04, 0x00, 0x00, 0x01, 0x00, 0x02, 0x01, 0x04, 0x03, 0x04, 0x05, 0x03, 0x01, 0x01, 0x02,
    0x03, 0x04, 0x01, 0x02, 0x05, 0x02, 0x01, 0x00, 0x0b, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

TEST(QueryPortTest, GoldenResponse) {
  auto bytes = bytes_of(kPort);
  const QueryPortResp want{1024, 1, 0x0102, 0x0304, 4, 5, 3, 2};
  EXPECT_EQ(decode_query_port_resp(bytes), want);
  EXPECT_EQ(decode_query_port_resp(std::span(bytes).first(40)), want);  // write form
  EXPECT_EQ(decode_query_port_resp(std::span(bytes).first(39)).error(), EINVAL);

  ASSERT_TRUE(set_gid_table_length(bytes, 3));
  auto want_bytes = bytes_of(kPort);
  want_bytes[16] = std::byte{3};
  want_bytes[17] = std::byte{0};
  EXPECT_EQ(bytes, want_bytes);
  EXPECT_FALSE(set_gid_table_length(std::span(bytes).first(39), 3));
}

TEST(QueryPortTest, Request) {
  // struct ib_uverbs_query_port: response, port_num at 8, reserved[7].
  constexpr std::uint8_t kRequest[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0};
  const auto bytes = bytes_of(kRequest);
  EXPECT_EQ(decode_query_port(bytes), 9);
  EXPECT_EQ(decode_query_port(std::span(bytes).first(15)).error(), ENOSPC);
}

TEST(QueryDeviceTest, FieldsLieWhereTheAbiPutsThem) {
  // struct ib_uverbs_ex_query_device_resp: node_guid at 8, sys_image_guid at 16, max_qp at 52,
  // device_cap_flags at 60, phys_port_cnt at 171, device_cap_flags_ex at 224.
  std::vector<std::byte> resp(304);
  for (std::size_t i = 0; i < resp.size(); ++i)
    resp[i] = static_cast<std::byte>(i & 0xffU);
  auto got = decode_query_device_resp(resp);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->node_guid, (Guid{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(got->sys_image_guid, (Guid{16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(got->max_qp, 0x37363534U);
  EXPECT_EQ(got->device_cap_flags, 0x3f3e3d3cU);
  EXPECT_EQ(got->phys_port_cnt, 171);

  const auto before = resp;
  ASSERT_TRUE(set_device_guids(resp, Guid{1, 1, 1, 1, 1, 1, 1, 1}, Guid{2, 2, 2, 2, 2, 2, 2, 2}));
  for (std::size_t i = 0; i < resp.size(); ++i) {
    const std::byte want = i >= 8 && i < 16    ? std::byte{1}
                           : i >= 16 && i < 24 ? std::byte{2}
                                               : before[i];
    EXPECT_EQ(resp[i], want) << i;
  }
  EXPECT_FALSE(set_device_guids(std::span(resp).first(175), {}, {}));
  EXPECT_EQ(decode_query_device_resp(std::span(resp).first(175)).error(), EINVAL);
}

TEST(QueryDeviceTest, CapabilitiesAreClearedInBothPlaces) {
  std::vector<std::byte> resp(304, std::byte{0xff});
  const std::uint64_t bits = (1ULL << 20U) | (1ULL << 34U);  // XRC, RAW_SCATTER_FCS
  ASSERT_TRUE(clear_device_caps(resp, bits));
  EXPECT_EQ(peek<std::uint32_t>(resp, 60), ~(1U << 20U));
  EXPECT_EQ(peek<std::uint64_t>(resp, 224), ~bits);
  std::vector<std::byte> plain(176, std::byte{0xff});
  ASSERT_TRUE(clear_device_caps(plain, bits));
  EXPECT_EQ(peek<std::uint32_t>(plain, 60), ~(1U << 20U));
  EXPECT_FALSE(clear_device_caps(std::span(plain).first(100), bits));
}

TEST(GetContextTest, Mlx5DevxIsABackDoor) {
  // struct mlx5_ib_alloc_ucontext_req_v2: flags at 8, bit 0 MLX5_IB_ALLOC_UCTX_DEVX.
  std::vector<std::byte> request(32);
  request[8] = std::byte{0x03};
  request[0] = std::byte{0xff};
  EXPECT_TRUE(asks_back_door(DriverId::kMlx5, request));
  EXPECT_FALSE(asks_back_door(DriverId::kRxe, request));
  clear_back_doors(DriverId::kRxe, request);
  EXPECT_EQ(request[8], std::byte{0x03});
  clear_back_doors(DriverId::kMlx5, request);
  EXPECT_EQ(request[8], std::byte{0x02});
  EXPECT_EQ(request[0], std::byte{0xff});
  EXPECT_FALSE(asks_back_door(DriverId::kMlx5, request));
  // The first version of the request ends before the flags. Cut anywhere, nothing is read beyond.
  for (std::size_t size = 0; size <= 32; ++size) {
    std::vector<std::byte> cut(size, std::byte{0xff});
    EXPECT_EQ(asks_back_door(DriverId::kMlx5, cut), size > 8) << size;
    clear_back_doors(DriverId::kMlx5, cut);
    EXPECT_FALSE(asks_back_door(DriverId::kMlx5, cut)) << size;
  }
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
