// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/codec.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

namespace qmasq::qos::tc {
namespace {

// The largest message is a class: some 200 bytes.
constexpr std::size_t kLargest = 512;

class Builder {
 public:
  Builder(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, const tcmsg& head)
      : message_(mnl_nlmsg_put_header(bytes_.data())) {
    message_->nlmsg_type = type;
    message_->nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
    message_->nlmsg_seq = sequence;
    std::memcpy(mnl_nlmsg_put_extra_header(message_, sizeof head), &head, sizeof head);
  }
  Builder& text(std::uint16_t type, const char* value) {
    mnl_attr_put_strz(message_, type, value);
    return *this;
  }
  Builder& u8(std::uint16_t type, std::uint8_t value) {
    mnl_attr_put_u8(message_, type, value);
    return *this;
  }
  Builder& be16(std::uint16_t type, std::uint16_t host_order) {
    mnl_attr_put_u16(message_, type, htons(host_order));
    return *this;
  }
  Builder& u32(std::uint16_t type, std::uint32_t value) {
    mnl_attr_put_u32(message_, type, value);
    return *this;
  }
  Builder& u64(std::uint16_t type, std::uint64_t value) {
    mnl_attr_put_u64(message_, type, value);
    return *this;
  }
  template <typename T>
  Builder& whole(std::uint16_t type, const T& value) {
    mnl_attr_put(message_, type, sizeof value, &value);
    return *this;
  }
  template <typename Fill>
  Builder& options(Fill fill) {
    nlattr* nest = mnl_attr_nest_start(message_, TCA_OPTIONS);
    fill(*this);
    mnl_attr_nest_end(message_, nest);
    return *this;
  }
  [[nodiscard]] std::vector<std::byte> finish() const {
    return {bytes_.begin(), bytes_.begin() + message_->nlmsg_len};
  }

 private:
  alignas(nlmsghdr) std::array<std::byte, kLargest> bytes_{};
  nlmsghdr* message_;
};

tcmsg head_of(int device, Handle handle, Handle parent, std::uint32_t info = 0) {
  tcmsg head{};
  head.tcm_family = AF_UNSPEC;
  head.tcm_ifindex = device;
  head.tcm_handle = handle;
  head.tcm_parent = parent;
  head.tcm_info = info;
  return head;
}

tc_ratespec rate_spec(std::uint64_t bytes_per_second, std::uint16_t mpu) {
  tc_ratespec spec{};
  // The link layer is named so that the kernel wants no rate table.
  spec.linklayer = TC_LINKLAYER_ETHERNET;
  spec.cell_align = -1;
  spec.mpu = mpu;
  // What does not fit comes in an attribute of its own.
  spec.rate = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(bytes_per_second, std::numeric_limits<std::uint32_t>::max()));
  return spec;
}

std::vector<std::byte> encode_class(const Class& spec, std::uint16_t flags, int device,
                                    std::uint32_t sequence) {
  Builder builder(RTM_NEWTCLASS, flags, sequence, head_of(device, spec.id, spec.parent));
  builder.text(TCA_KIND, "htb").options([&](Builder& in) {
    tc_htb_opt parameters{};
    parameters.rate = rate_spec(spec.rate, spec.rate_mpu);
    parameters.ceil = rate_spec(spec.ceil, spec.ceil_mpu);
    parameters.buffer = spec.buffer;
    parameters.cbuffer = spec.cbuffer;
    parameters.quantum = spec.quantum;
    if (spec.rate > std::numeric_limits<std::uint32_t>::max()) in.u64(TCA_HTB_RATE64, spec.rate);
    if (spec.ceil > std::numeric_limits<std::uint32_t>::max()) in.u64(TCA_HTB_CEIL64, spec.ceil);
    in.whole(TCA_HTB_PARMS, parameters);
  });
  return builder.finish();
}

std::uint32_t filter_info(std::uint16_t priority, std::uint16_t protocol) {
  return static_cast<std::uint32_t>(priority) << 16U | htons(protocol);
}

std::vector<std::byte> encode_filter(const Filter& spec, int device, std::uint32_t sequence) {
  Builder builder(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence,
                  head_of(device, spec.handle, kOurs, filter_info(spec.priority, spec.protocol)));
  builder.text(TCA_KIND, "flower").options([&](Builder& in) {
    // In the order of tc(8). A key without a mask is matched whole.
    in.u8(TCA_FLOWER_KEY_IP_PROTO, IPPROTO_UDP)
        .be16(TCA_FLOWER_KEY_UDP_DST, spec.match->destination_port);
    if (spec.match->source_mask != 0) {
      in.be16(TCA_FLOWER_KEY_UDP_SRC, spec.match->source_port)
          .be16(TCA_FLOWER_KEY_UDP_SRC_MASK, spec.match->source_mask);
    }
    in.u32(TCA_FLOWER_CLASSID, spec.target)
        .u32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_SKIP_HW)
        .be16(TCA_FLOWER_KEY_ETH_TYPE, spec.protocol);
  });
  return builder.finish();
}

struct Encoder {
  int device;
  std::uint32_t sequence;

  std::vector<std::byte> operator()(const AddQdisc& add) const {
    Builder builder(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence,
                    head_of(device, add.handle, kRoot));
    builder.text(TCA_KIND, "htb").options([](Builder& in) {
      tc_htb_glob global{};
      global.version = TC_HTB_PROTOVER;
      global.rate2quantum = 10;
      in.whole(TCA_HTB_INIT, global);
    });
    return builder.finish();
  }
  std::vector<std::byte> operator()(const DeleteQdisc& gone) const {
    return Builder(RTM_DELQDISC, NLM_F_ACK, sequence, head_of(device, gone.handle, kRoot)).finish();
  }
  std::vector<std::byte> operator()(const AddClass& add) const {
    return encode_class(add.spec, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, device, sequence);
  }
  std::vector<std::byte> operator()(const ChangeClass& change) const {
    return encode_class(change.spec, NLM_F_ACK, device, sequence);
  }
  std::vector<std::byte> operator()(const DeleteClass& gone) const {
    return Builder(RTM_DELTCLASS, NLM_F_ACK, sequence, head_of(device, gone.id, 0)).finish();
  }
  std::vector<std::byte> operator()(const AddFilter& add) const {
    return encode_filter(add.spec, device, sequence);
  }
  std::vector<std::byte> operator()(const DeleteFilter& gone) const {
    return Builder(RTM_DELTFILTER, NLM_F_ACK, sequence,
                   head_of(device, gone.handle, kOurs, filter_info(gone.priority, gone.protocol)))
        .text(TCA_KIND, "flower")
        .finish();
  }
};

// Numbers must have exactly their size: a longer attribute is not what we think it is.
template <typename T>
bool take(Bytes bytes, T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() != sizeof(T)) return false;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return true;
}

// Structures of statistics have grown at their end before.
template <typename T>
bool take_front(Bytes bytes, T& value) {
  return bytes.size() >= sizeof(T) && take(bytes.first(sizeof(T)), value);
}

std::string text_of(Bytes bytes) {
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  return {begin, std::find(begin, begin + bytes.size(), '\0')};
}

bool take_be16(Bytes bytes, std::uint16_t& value) {
  if (!take(bytes, value)) return false;
  value = ntohs(value);
  return true;
}

// Calls `visit` for each attribute, type without flag bits.
template <typename Visit>
void for_each_attribute(Bytes bytes, Visit visit) {
  while (!bytes.empty()) {
    const auto* attribute = reinterpret_cast<const nlattr*>(bytes.data());
    if (!mnl_attr_ok(attribute, static_cast<int>(bytes.size()))) return;
    std::size_t size = mnl_attr_get_len(attribute);
    visit(mnl_attr_get_type(attribute), bytes.subspan(MNL_ATTR_HDRLEN, size - MNL_ATTR_HDRLEN));
    bytes = bytes.subspan(std::min<std::size_t>(MNL_ALIGN(size), bytes.size()));
  }
}

// What all answers of traffic control share.
struct Object {
  tcmsg head{};
  std::string kind;
  Bytes options;
  Bytes stats;
  bool hidden = false;
};

Result<Object> parse_object(Bytes payload) {
  Object object;
  if (!take_front(payload, object.head)) {
    return fail(Code::kInternal, "netlink: message of traffic control too short");
  }
  for_each_attribute(payload.subspan(sizeof(tcmsg)), [&](std::uint16_t type, Bytes value) {
    if (type == TCA_KIND) object.kind = text_of(value);
    if (type == TCA_OPTIONS) object.options = value;
    if (type == TCA_STATS2) object.stats = value;
    if (type == TCA_DUMP_INVISIBLE) object.hidden = true;
  });
  return object;
}

ClassStats parse_stats(Bytes stats) {
  ClassStats found;
  gnet_stats_basic basic{};
  gnet_stats_queue queue{};
  std::optional<std::uint64_t> packets;
  for_each_attribute(stats, [&](std::uint16_t type, Bytes value) {
    // Of the basic ones 12 bytes count; the structure is padded to 16, not always in the message.
    if (type == TCA_STATS_BASIC && value.size() >= 12) {
      std::memcpy(&basic, value.data(), 12);
    }
    if (type == TCA_STATS_QUEUE) take_front(value, queue);
    if (std::uint64_t all = 0; type == TCA_STATS_PKT64 && take(value, all)) packets = all;
  });
  found.bytes = basic.bytes;
  found.packets = packets.value_or(basic.packets);
  found.drops = queue.drops;
  found.overlimits = queue.overlimits;
  found.backlog = queue.backlog;
  return found;
}

}  // namespace

std::vector<std::byte> encode(const Operation& operation, int device, std::uint32_t sequence) {
  return std::visit(Encoder{device, sequence}, operation);
}

std::vector<std::byte> encode_dump(Dump what, Handle qdisc, int device, std::uint32_t sequence) {
  std::uint16_t type = RTM_GETQDISC;
  if (what == Dump::kClasses) type = RTM_GETTCLASS;
  if (what == Dump::kFilters) type = RTM_GETTFILTER;
  return Builder(type, NLM_F_DUMP, sequence, head_of(device, 0, what == Dump::kQdiscs ? 0 : qdisc))
      .finish();
}

Status for_each_message(Bytes datagram, const std::function<void(const Message&)>& visit) {
  while (!datagram.empty()) {
    const auto* message = reinterpret_cast<const nlmsghdr*>(datagram.data());
    // libmnl compares as int: a length from 2^31 on would be a negative one to it.
    if (!mnl_nlmsg_ok(message, static_cast<int>(datagram.size())) ||
        message->nlmsg_len > datagram.size()) {
      return fail(Code::kInternal, "netlink: message length does not fit its datagram");
    }
    visit({message->nlmsg_type, message->nlmsg_flags, message->nlmsg_seq,
           datagram.subspan(sizeof(nlmsghdr), message->nlmsg_len - sizeof(nlmsghdr))});
    datagram = datagram.subspan(
        std::min<std::size_t>(MNL_ALIGN(std::size_t{message->nlmsg_len}), datagram.size()));
  }
  return {};
}

Result<std::optional<Qdisc>> parse_qdisc(Bytes payload, int device) {
  QMASQ_ASSIGN(Object object, parse_object(payload));
  if (object.head.tcm_ifindex != device || object.hidden) return std::nullopt;
  return Qdisc{object.head.tcm_handle, object.head.tcm_parent, object.kind};
}

Result<std::optional<Class>> parse_class(Bytes payload, int device) {
  QMASQ_ASSIGN(Object object, parse_object(payload));
  if (object.head.tcm_ifindex != device || object.kind != "htb") return std::nullopt;
  Class found;
  found.id = object.head.tcm_handle;
  found.parent = object.head.tcm_parent;
  std::optional<tc_htb_opt> parameters;
  std::optional<std::uint64_t> rate;
  std::optional<std::uint64_t> ceil;
  for_each_attribute(object.options, [&](std::uint16_t type, Bytes value) {
    tc_htb_opt all{};
    std::uint64_t number = 0;
    if (type == TCA_HTB_PARMS && take_front(value, all)) parameters = all;
    if (type == TCA_HTB_RATE64 && take(value, number)) rate = number;
    if (type == TCA_HTB_CEIL64 && take(value, number)) ceil = number;
  });
  if (!parameters) return fail(Code::kInternal, "netlink: class of HTB without parameters");
  found.rate = rate.value_or(parameters->rate.rate);
  found.ceil = ceil.value_or(parameters->ceil.rate);
  found.rate_mpu = parameters->rate.mpu;
  found.ceil_mpu = parameters->ceil.mpu;
  found.buffer = parameters->buffer;
  found.cbuffer = parameters->cbuffer;
  found.quantum = parameters->quantum;
  found.stats = parse_stats(object.stats);
  return found;
}

Result<std::optional<Filter>> parse_filter(Bytes payload, int device) {
  QMASQ_ASSIGN(Object object, parse_object(payload));
  // A priority as a whole is announced by a message without handle.
  if (object.head.tcm_ifindex != device || object.head.tcm_handle == 0) return std::nullopt;
  Filter found;
  found.handle = object.head.tcm_handle;
  found.kind = object.kind;
  found.priority = static_cast<std::uint16_t>(object.head.tcm_info >> 16U);
  found.protocol = ntohs(static_cast<std::uint16_t>(object.head.tcm_info & 0xffffU));
  if (found.kind != "flower") return found;
  Filter::Match match;
  std::uint8_t protocol = 0;
  std::uint16_t destination_mask = 0;
  bool more = false;
  for_each_attribute(object.options, [&](std::uint16_t type, Bytes value) {
    switch (type) {
      case TCA_FLOWER_CLASSID:
        take(value, found.target);
        break;
      case TCA_FLOWER_KEY_IP_PROTO:
        take(value, protocol);
        break;
      case TCA_FLOWER_KEY_UDP_DST:
        take_be16(value, match.destination_port);
        break;
      case TCA_FLOWER_KEY_UDP_DST_MASK:
        take_be16(value, destination_mask);
        break;
      case TCA_FLOWER_KEY_UDP_SRC:
        take_be16(value, match.source_port);
        break;
      case TCA_FLOWER_KEY_UDP_SRC_MASK:
        take_be16(value, match.source_mask);
        break;
      case TCA_FLOWER_FLAGS:
      case TCA_FLOWER_KEY_ETH_TYPE:
      case TCA_FLOWER_IN_HW_COUNT:
      case TCA_FLOWER_ACT:
        break;
      default:
        more = true;  // it matches on something else besides
    }
  });
  if (!more && protocol == IPPROTO_UDP && destination_mask == 0xffff) found.match = match;
  return found;
}

Result<Ack> parse_ack(const Message& message) {
  nlmsgerr error{};
  if (!take_front(message.payload, error)) {
    return fail(Code::kInternal, "netlink: acknowledgement too short");
  }
  Ack ack;
  ack.err = error.error < 0 && error.error > -4096 ? -error.error : 0;
  if (error.error != 0 && ack.err == 0) ack.err = EIO;
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return ack;
  // The request follows whole unless the kernel capped it; the attributes come after it.
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.flags & NLM_F_CAPPED) == 0 && error.msg.nlmsg_len > sizeof(nlmsghdr)) {
    skip += MNL_ALIGN(std::size_t{error.msg.nlmsg_len} - sizeof(nlmsghdr));
  }
  if (skip > message.payload.size()) return ack;
  for_each_attribute(message.payload.subspan(skip), [&](std::uint16_t type, Bytes value) {
    if (type == NLMSGERR_ATTR_MSG) ack.text = text_of(value);
  });
  return ack;
}

}  // namespace qmasq::qos::tc
