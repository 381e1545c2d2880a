// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/tags.h"

#include <utility>

#include "vbond/survival/bytes.h"

namespace qmasq::vbond {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kMaxText = 512;  // far above the longest name

std::string_view cut(const std::string& text) {
  return std::string_view(text).substr(0, kMaxText);
}

struct Encoder {
  ByteWriter& out;
  void operator()(const LedgerTag&) const {}
  void operator()(const JournalTag&) const {}
  void operator()(const ListenerTag& tag) const {
    out.put(tag.number).put(tag.endpoint.value).text(cut(tag.endpoint_name));
    out.put(tag.pid).text(cut(tag.command));
  }
  void operator()(const ContextTag& tag) const {
    out.put(tag.id).put(tag.listener).text(cut(tag.nic)).put(tag.pid).text(cut(tag.command));
    out.put(static_cast<std::uint8_t>(tag.software)).put(tag.driver_id).put(tag.descriptor);
  }
  void operator()(const SealedTag& tag) const {
    out.put(tag.listener).put(static_cast<std::uint8_t>(tag.writable));
  }
};

ListenerTag read_listener(ByteReader& in) {
  ListenerTag out;
  out.number = in.get<std::uint64_t>();
  out.endpoint.value = in.get<decltype(out.endpoint.value)>();
  out.endpoint_name = in.text();
  out.pid = in.get<pid_t>();
  out.command = in.text();
  return out;
}

ContextTag read_context(ByteReader& in) {
  ContextTag out;
  out.id = in.get<std::uint64_t>();
  out.listener = in.get<std::uint64_t>();
  out.nic = in.text();
  out.pid = in.get<pid_t>();
  out.command = in.text();
  out.software = in.get<std::uint8_t>() != 0;
  out.driver_id = in.get<std::uint32_t>();
  out.descriptor = in.get<int>();
  return out;
}

}  // namespace

std::string encode(const Tag& tag) {
  ByteWriter out;
  out.put(kVersion).put(static_cast<std::uint8_t>(tag.index()));
  std::visit(Encoder{out}, tag);
  return out.bytes();
}

std::optional<Tag> decode_tag(std::string_view bytes) {
  ByteReader in(bytes);
  if (in.get<std::uint8_t>() != kVersion) return std::nullopt;
  Tag out;
  switch (in.get<std::uint8_t>()) {
    case 0:
      out = LedgerTag{};
      break;
    case 1:
      out = JournalTag{};
      break;
    case 2:
      out = read_listener(in);
      break;
    case 3:
      out = read_context(in);
      break;
    case 4: {
      SealedTag sealed;
      sealed.listener = in.get<std::uint64_t>();
      sealed.writable = in.get<std::uint8_t>() != 0;
      out = sealed;
      break;
    }
    default:
      return std::nullopt;
  }
  if (!in.done()) return std::nullopt;
  return out;
}

}  // namespace qmasq::vbond
