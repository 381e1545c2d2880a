// SPDX-License-Identifier: Apache-2.0
#include "vbond/journal/record.h"

#include <chrono>

#include "vbond/survival/bytes.h"

namespace qmasq::vbond {
namespace {

using Leg = JournaledConnection::Leg;

constexpr std::uint8_t kVersion = 1;

void put_side(ByteWriter& out, const PathSide& side) {
  out.put(side.local.raw).put(side.remote.raw).put(side.flow_label);
  out.put(side.sgid_index).put(side.hop_limit).put(side.traffic_class).put(side.sl);
}

PathSide get_side(ByteReader& in) {
  PathSide out;
  out.local.raw = in.get<decltype(out.local.raw)>();
  out.remote.raw = in.get<decltype(out.remote.raw)>();
  out.flow_label = in.get<std::uint32_t>();
  out.sgid_index = in.get<std::uint8_t>();
  out.hop_limit = in.get<std::uint8_t>();
  out.traffic_class = in.get<std::uint8_t>();
  out.sl = in.get<std::uint8_t>();
  return out;
}

void put_leg(ByteWriter& out, const std::optional<Leg>& leg) {
  out.put(static_cast<std::uint8_t>(leg.has_value()));
  if (!leg) return;
  put_side(out, leg->path.virt);
  put_side(out, leg->path.phys);
  out.put(leg->path.peer.value).put(leg->path.peer_host.value);
  out.text(leg->path.peer_name).text(leg->path.peer_host_name);
  out.put(leg->peer_qpn.value).put(leg->asked_access);
}

std::optional<Leg> get_leg(ByteReader& in) {
  if (in.get<std::uint8_t>() == 0) return std::nullopt;
  Leg out;
  out.path.virt = get_side(in);
  out.path.phys = get_side(in);
  out.path.peer.value = in.get<decltype(out.path.peer.value)>();
  out.path.peer_host.value = in.get<decltype(out.path.peer_host.value)>();
  out.path.peer_name = in.text();
  out.path.peer_host_name = in.text();
  out.peer_qpn.value = in.get<decltype(out.peer_qpn.value)>();
  out.asked_access = in.get<std::uint32_t>();
  return out;
}

}  // namespace

std::string encode_record(const JournaledConnection& connection) {
  ByteWriter out;
  out.put(kVersion).put(static_cast<std::uint32_t>(connection.type)).put(connection.qpn.value);
  out.put(connection.address_handle).put(connection.asked_access);
  out.put(static_cast<std::int64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(connection.since.time_since_epoch())
          .count()));
  put_leg(out, connection.now);
  put_leg(out, connection.next);
  return out.bytes();
}

std::optional<JournaledConnection> decode_record(QpKey key, std::string_view bytes) {
  ByteReader in(bytes);
  if (in.get<std::uint8_t>() != kVersion) return std::nullopt;
  JournaledConnection out;
  out.key = key;
  out.type = static_cast<uverbs::QpType>(in.get<std::uint32_t>());
  out.qpn.value = in.get<decltype(out.qpn.value)>();
  out.address_handle = in.get<std::uint32_t>();
  out.asked_access = in.get<std::uint32_t>();
  out.since += std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::microseconds(in.get<std::int64_t>()));
  out.now = get_leg(in);
  out.next = get_leg(in);
  if (!in.done()) return std::nullopt;
  return out;
}

}  // namespace qmasq::vbond
