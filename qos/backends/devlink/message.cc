// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/message.h"

#include <libmnl/libmnl.h>
#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

namespace qmasq::qos::devlink {
namespace {

// uapi linux/devlink.h from 6.2 on; the headers of Debian 12 are older. An older kernel refuses it.
constexpr std::uint16_t kAttrTxWeight = 178;

// One message. Its buffer holds the largest: names are the only parts of any length.
class Builder {
 public:
  Builder(std::uint16_t type, std::uint16_t flags, std::uint8_t command, std::uint8_t version,
          std::uint32_t sequence, std::size_t room)
      : buffer_(NLMSG_HDRLEN + GENL_HDRLEN + 256 + 2 * room) {
    header_ = mnl_nlmsg_put_header(buffer_.data());
    header_->nlmsg_type = type;
    header_->nlmsg_flags = flags;
    header_->nlmsg_seq = sequence;
    auto* generic =
        static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(header_, sizeof(genlmsghdr)));
    generic->cmd = command;
    generic->version = version;
  }
  Builder& text(std::uint16_t type, const std::string& value) {
    mnl_attr_put_strz(header_, type, value.c_str());
    return *this;
  }
  Builder& u32(std::uint16_t type, std::uint32_t value) {
    mnl_attr_put_u32(header_, type, value);
    return *this;
  }
  Builder& u64(std::uint16_t type, std::uint64_t value) {
    mnl_attr_put_u64(header_, type, value);
    return *this;
  }
  std::vector<std::byte> finish() {
    buffer_.resize(header_->nlmsg_len);
    return std::move(buffer_);
  }

 private:
  std::vector<std::byte> buffer_;
  nlmsghdr* header_;
};

std::size_t room_of(const Target& target, const RateId& id, const RateChange& change) {
  return target.handle.bus.size() + target.handle.device.size() + id.name.size() +
         (change.parent ? change.parent->size() : 0);
}

Builder request(const Target& target, std::uint16_t flags, std::uint8_t command,
                std::uint32_t sequence, std::size_t room) {
  Builder builder(target.family, static_cast<std::uint16_t>(NLM_F_REQUEST | flags), command,
                  DEVLINK_GENL_VERSION, sequence, room);
  return builder;
}

void put_handle(Builder& builder, const Handle& handle) {
  builder.text(DEVLINK_ATTR_BUS_NAME, handle.bus).text(DEVLINK_ATTR_DEV_NAME, handle.device);
}

void put_id(Builder& builder, const RateId& id) {
  if (id.kind == RateId::Kind::kLeaf) {
    builder.u32(DEVLINK_ATTR_PORT_INDEX, id.port);
  } else {
    builder.text(DEVLINK_ATTR_RATE_NODE_NAME, id.name);
  }
}

// Calls `visit` with the type, without flag bits, and the payload of each attribute. False: the
// lengths do not add up.
template <typename Visit>
bool for_each(Bytes attributes, Visit visit) {
  while (!attributes.empty()) {
    nlattr header{};
    if (attributes.size() < sizeof header) return false;
    std::memcpy(&header, attributes.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > attributes.size()) return false;
    visit(static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
          attributes.first(header.nla_len).subspan(sizeof header));
    std::size_t step = std::min<std::size_t>(NLA_ALIGN(header.nla_len), attributes.size());
    attributes = attributes.subspan(step);
  }
  return true;
}

// The attributes behind the generic netlink header, where the message is of this command.
std::optional<Bytes> attributes_of(const Message& message, std::uint8_t command) {
  constexpr std::size_t kFront = NLMSG_HDRLEN + GENL_HDRLEN;
  genlmsghdr generic{};
  if (message.whole.size() < kFront) return std::nullopt;
  std::memcpy(&generic, message.whole.data() + NLMSG_HDRLEN, sizeof generic);
  if (generic.cmd != command) return std::nullopt;
  return message.whole.subspan(kFront);
}

// Numbers must have exactly their size: a longer attribute is not what we think it is.
template <typename T>
bool take(Bytes payload, T& value) {
  if (payload.size() != sizeof(T)) return false;
  std::memcpy(&value, payload.data(), sizeof(T));
  return true;
}

std::string text_of(Bytes payload) {
  const char* begin = reinterpret_cast<const char*>(payload.data());
  return {begin, std::find(begin, begin + payload.size(), '\0')};
}

// One attribute of a rate object; false when it is not what its type says.
bool take_attribute(std::uint16_t type, Bytes payload, OwnedObject& found,
                    std::optional<std::uint16_t>& kind, bool& named) {
  RateObject& object = found.object;
  switch (type) {
    case DEVLINK_ATTR_BUS_NAME:
      found.handle.bus = text_of(payload);
      return true;
    case DEVLINK_ATTR_DEV_NAME:
      found.handle.device = text_of(payload);
      return true;
    case DEVLINK_ATTR_PORT_INDEX:
      named = true;
      return take(payload, object.id.port);
    case DEVLINK_ATTR_RATE_NODE_NAME:
      object.id.name = text_of(payload);
      named = true;
      return !object.id.name.empty();
    case DEVLINK_ATTR_RATE_TYPE:
      return take(payload, kind.emplace());
    case DEVLINK_ATTR_RATE_TX_SHARE:
      return take(payload, object.tx_share);
    case DEVLINK_ATTR_RATE_TX_MAX:
      return take(payload, object.tx_max);
    case kAttrTxWeight:
      return take(payload, object.tx_weight.emplace());
    case DEVLINK_ATTR_RATE_PARENT_NODE_NAME:
      object.parent = text_of(payload);
      return true;
    default:
      return true;
  }
}

}  // namespace

std::vector<std::byte> ask_family(std::uint32_t sequence) {
  Builder builder(GENL_ID_CTRL, NLM_F_REQUEST | NLM_F_ACK, CTRL_CMD_GETFAMILY, 1, sequence, 0);
  return builder.text(CTRL_ATTR_FAMILY_NAME, DEVLINK_GENL_NAME).finish();
}

std::vector<std::byte> ask_device(const Target& target, std::uint32_t sequence) {
  Builder builder = request(target, NLM_F_ACK, DEVLINK_CMD_GET, sequence, room_of(target, {}, {}));
  put_handle(builder, target.handle);
  return builder.finish();
}

std::vector<std::byte> ask_objects(const Target& target, std::uint32_t sequence) {
  Builder builder =
      request(target, NLM_F_DUMP, DEVLINK_CMD_RATE_GET, sequence, room_of(target, {}, {}));
  put_handle(builder, target.handle);
  return builder.finish();
}

std::vector<std::byte> ask_object(const Target& target, const RateId& id, std::uint32_t sequence) {
  Builder builder =
      request(target, NLM_F_ACK, DEVLINK_CMD_RATE_GET, sequence, room_of(target, id, {}));
  put_handle(builder, target.handle);
  put_id(builder, id);
  return builder.finish();
}

std::vector<std::byte> new_node(const Target& target, const std::string& name,
                                std::uint32_t sequence) {
  RateId id = RateId::node(name);
  Builder builder =
      request(target, NLM_F_ACK, DEVLINK_CMD_RATE_NEW, sequence, room_of(target, id, {}));
  put_handle(builder, target.handle);
  put_id(builder, id);
  return builder.finish();
}

std::vector<std::byte> set_object(const Target& target, const RateId& id, const RateChange& change,
                                  std::uint32_t sequence) {
  Builder builder =
      request(target, NLM_F_ACK, DEVLINK_CMD_RATE_SET, sequence, room_of(target, id, change));
  put_handle(builder, target.handle);
  put_id(builder, id);
  if (change.tx_share) builder.u64(DEVLINK_ATTR_RATE_TX_SHARE, *change.tx_share);
  if (change.tx_max) builder.u64(DEVLINK_ATTR_RATE_TX_MAX, *change.tx_max);
  if (change.tx_weight) builder.u32(kAttrTxWeight, *change.tx_weight);
  if (change.parent) builder.text(DEVLINK_ATTR_RATE_PARENT_NODE_NAME, *change.parent);
  return builder.finish();
}

std::vector<std::byte> delete_node(const Target& target, const std::string& name,
                                   std::uint32_t sequence) {
  RateId id = RateId::node(name);
  Builder builder =
      request(target, NLM_F_ACK, DEVLINK_CMD_RATE_DEL, sequence, room_of(target, id, {}));
  put_handle(builder, target.handle);
  put_id(builder, id);
  return builder.finish();
}

Result<std::vector<Message>> split_messages(Bytes datagram) {
  std::vector<Message> messages;
  while (!datagram.empty()) {
    nlmsghdr header{};
    if (datagram.size() < sizeof header) {
      return fail(Code::kInternal, "a netlink message of " + std::to_string(datagram.size()) +
                                       " bytes is shorter than its header");
    }
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) {
      return fail(Code::kInternal, "a netlink message says " + std::to_string(header.nlmsg_len) +
                                       " bytes and has " + std::to_string(datagram.size()));
    }
    messages.push_back({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                        datagram.first(header.nlmsg_len)});
    std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size());
    datagram = datagram.subspan(step);
  }
  return messages;
}

Result<std::uint16_t> parse_family(const Message& message) {
  auto attributes = attributes_of(message, CTRL_CMD_NEWFAMILY);
  std::optional<std::uint16_t> id;
  bool sound = attributes && for_each(*attributes, [&](std::uint16_t type, Bytes payload) {
                 std::uint16_t value = 0;
                 if (type == CTRL_ATTR_FAMILY_ID && take(payload, value)) id = value;
               });
  if (!sound || !id) {
    return fail(Code::kInternal, "the answer about generic netlink's devlink does not say its id");
  }
  return *id;
}

Result<std::optional<OwnedObject>> parse_object(const Message& message) {
  auto attributes = attributes_of(message, DEVLINK_CMD_RATE_NEW);
  OwnedObject found;
  std::optional<std::uint16_t> kind;
  bool named = false;
  bool exact = true;
  bool sound = attributes && for_each(*attributes, [&](std::uint16_t type, Bytes payload) {
                 exact = take_attribute(type, payload, found, kind, named) && exact;
               });
  if (!sound || !exact || !kind) {
    return fail(Code::kInternal, "a devlink rate object does not add up");
  }
  RateId& id = found.object.id;
  if (*kind == DEVLINK_RATE_TYPE_LEAF) {
    id.kind = RateId::Kind::kLeaf;
    named = named && id.name.empty();
  } else if (*kind == DEVLINK_RATE_TYPE_NODE) {
    id.kind = RateId::Kind::kNode;
    named = named && !id.name.empty() && id.port == 0;
  } else {
    return std::optional<OwnedObject>();
  }
  if (!named) return fail(Code::kInternal, "a devlink rate object has no name");
  return std::optional<OwnedObject>(std::move(found));
}

Result<Ack> parse_ack(const Message& message) {
  if (message.type != NLMSG_ERROR && message.type != NLMSG_DONE) {
    return fail(Code::kInternal, "not an acknowledgement of netlink");
  }
  std::int32_t err = 0;
  constexpr std::size_t kAt = NLMSG_HDRLEN;
  if (message.whole.size() < kAt + sizeof err) {
    // NLMSG_DONE may come bare.
    if (message.type == NLMSG_DONE) return Ack{};
    return fail(Code::kInternal, "an acknowledgement of netlink is too short");
  }
  std::memcpy(&err, message.whole.data() + kAt, sizeof err);
  if (err > 0 || err < -4095) return fail(Code::kInternal, "netlink answers with no errno");
  Ack ack{-err, {}};
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return ack;
  // Behind the errno: the request's header, and all of the request unless NLM_F_CAPPED.
  std::size_t front = kAt + sizeof err;
  if (message.type == NLMSG_ERROR) {
    nlmsghdr asked{};
    if (message.whole.size() < front + sizeof asked) return ack;
    std::memcpy(&asked, message.whole.data() + front, sizeof asked);
    bool capped = (message.flags & NLM_F_CAPPED) != 0;
    front += capped ? sizeof asked : NLMSG_ALIGN(std::size_t{asked.nlmsg_len});
  }
  if (front > message.whole.size()) return ack;
  (void)for_each(message.whole.subspan(front), [&](std::uint16_t type, Bytes payload) {
    if (type == NLMSGERR_ATTR_MSG) ack.text = text_of(payload);
  });
  return ack;
}

}  // namespace qmasq::qos::devlink
