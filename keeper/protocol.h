// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

// What agent and keeper say to each other over a Unix socket of type SOCK_SEQPACKET.
//
// A message is one packet: a Header, then `size` bytes of text, and with some kinds one descriptor
// (SCM_RIGHTS). Integers are little-endian. The agent asks, the keeper answers each request in the
// order in which they came:
//
//   kHello             -> kWelcome, id: pid of the keeper, version: the keeper's
//                         kWait,    id: pid of the agent that has the session. kWelcome follows
//                                   when that agent has ended; who will not wait hangs up
//                         kRefused  kOtherVersion (version: the keeper's), kCrowded
//   kList              -> kHeld for each thing that is held, by id, with its tag as text and its
//                         descriptor; then kDone, id: how many they were; kFull: the kernel would
//                         not let more descriptors be under way, so there are some missing
//   kPut, text: tag, descriptor
//                      -> kDone, id: what it is from now on; kFull
//   kRetag, id, text: tag
//                      -> kDone; kUnknown
//   kDrop, id          -> kDone; kUnknown. The keeper's descriptor is closed before the answer
//
// All but kHello is for the agent that was welcomed. A request that is none (wrong size, magic,
// kind, a descriptor too many or too few) has no answer: the keeper hangs up.
//
// Header's `magic`, `version` and `kind` stay where they are in every version, so that two of
// different versions can say so. Otherwise there is no compatibility between versions.
namespace qmasq::keeper {

inline constexpr std::uint32_t kMagic = 0x504b4d51;  // "QMKP"
inline constexpr std::uint16_t kVersion = 1;

enum class Kind : std::uint16_t {
  kHello = 1,
  kList = 2,
  kPut = 3,
  kRetag = 4,
  kDrop = 5,

  kWelcome = 0x81,
  kWait = 0x82,
  kRefused = 0x83,
  kHeld = 0x84,
  kDone = 0x85,
};

enum class Outcome : std::uint32_t {
  kOk = 0,
  kUnknown = 1,  // no such id
  kFull = 2,     // no more descriptors
  kOtherVersion = 3,
  kCrowded = 4,  // too many wait already
};

struct Header {
  std::uint32_t magic = kMagic;
  std::uint16_t version = kVersion;
  std::uint16_t kind = 0;
  std::uint64_t id = 0;
  std::uint32_t outcome = 0;
  std::uint32_t size = 0;
};

inline constexpr std::size_t kMaxText = 4096;  // bytes
inline constexpr std::size_t kMaxPacket = sizeof(Header) + kMaxText;

static_assert(std::endian::native == std::endian::little, "the format is the memory's");
static_assert(std::is_trivially_copyable_v<Header>);
static_assert(offsetof(Header, magic) == 0 && offsetof(Header, version) == 4);
static_assert(offsetof(Header, kind) == 6 && offsetof(Header, id) == 8);
static_assert(offsetof(Header, outcome) == 16 && offsetof(Header, size) == 20);
static_assert(sizeof(Header) == 24, "no padding");

}  // namespace qmasq::keeper
