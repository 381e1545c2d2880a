// SPDX-License-Identifier: Apache-2.0
// All that the agent does with the bytes of a tenant's call: envelope, verb table, check, layout of
// the agent's own call with payloads from the rest of the input, typed codecs. Input: the bytes of
// header and attributes, then payload bytes.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "vbond/uverbs/call.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/device.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

namespace {

namespace uv = qmasq::vbond::uverbs;
using Bytes = std::span<const std::byte>;

void require(bool condition) {
  if (!condition) std::abort();
}

// Encoding what was decoded and decoding it again gives the same value.
template <typename Decode, typename Encode>
void round_trip(Bytes bytes, std::size_t size, Decode decode, Encode encode) {
  auto value = decode(bytes);
  if (!value) return;
  std::vector<std::byte> room(size);
  if (!encode(*value, std::span<std::byte>(room))) return;
  auto again = decode(Bytes(room));
  require(again.has_value() && *again == *value);
}

void codecs(Bytes bytes) {
  for (const uv::Form form : {uv::Form::kWrite, uv::Form::kWriteEx}) {
    round_trip(
        bytes, uv::kExModifyQpSize, [&](Bytes in) { return uv::decode_modify_qp(in, form); },
        [&](const auto& in, auto out) { return uv::encode_modify_qp(in, form, out); });
    round_trip(
        bytes, uv::kExCreateQpSize, [&](Bytes in) { return uv::decode_create_qp_write(in, form); },
        [&](const auto& in, auto out) { return uv::encode_create_qp_write(in, form, out); });
  }
  round_trip(bytes, uv::kQueryQpSize, uv::decode_query_qp, uv::encode_query_qp);
  round_trip(bytes, uv::kQueryQpRespSize, uv::decode_query_qp_resp, uv::encode_query_qp_resp);
  round_trip(bytes, uv::kRegMrSize, uv::decode_reg_mr_write, uv::encode_reg_mr);
  round_trip(bytes, uv::kReregMrSize, uv::decode_rereg_mr, uv::encode_rereg_mr);
  round_trip(bytes, uv::kOpenXrcdSize, uv::decode_open_xrcd, uv::encode_open_xrcd);
  round_trip(bytes, uv::kCreateAhSize, uv::decode_create_ah, uv::encode_create_ah);
  (void)uv::decode_gid_entry(bytes);
  (void)uv::decode_query_port(bytes);
  (void)uv::decode_query_port_resp(bytes);
  (void)uv::decode_query_device_resp(bytes);
  (void)uv::decode_doorbell(bytes, bytes.size());

  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  (void)uv::set_gid_table_length(copy, 1);
  (void)uv::set_device_guids(copy, {}, {});
  (void)uv::clear_device_caps(copy, ~std::uint64_t{0});
  uv::clear_back_doors(uv::DriverId::kMlx5, copy);
  require(!uv::asks_back_door(uv::DriverId::kMlx5, copy));
  const uv::GidEntry entries[3] = {};
  const std::uint64_t entry_size = bytes.empty() ? 0 : static_cast<std::uint8_t>(bytes[0]);
  (void)uv::encode_gid_table(entries, entry_size, copy);
}

// What the handlers read of a call.
void judge(uv::CallBuilder& call, const uv::Verb& verb) {
  switch (verb.handler) {
    case uv::Handler::kCreateQp:
      (void)uv::decode_create_qp(call, verb);
      break;
    case uv::Handler::kDestroyQp:
      (void)uv::decode_destroy_qp(call, verb);
      break;
    case uv::Handler::kCreateCq:
      (void)uv::decode_create_cq(call, verb);
      break;
    case uv::Handler::kCreateSrq:
    case uv::Handler::kCreateXsrq:
      (void)uv::decode_create_srq(call, verb);
      break;
    case uv::Handler::kRegMr:
      (void)uv::decode_reg_mr(call, verb);
      break;
    case uv::Handler::kDestroyCq:
    case uv::Handler::kDestroySrq:
    case uv::Handler::kDeregMr:
    case uv::Handler::kDeallocPd:
    case uv::Handler::kDeallocMw:
    case uv::Handler::kCloseXrcd:
    case uv::Handler::kFreeUar:
      (void)uv::decode_destroyed_handle(call, verb);
      break;
    case uv::Handler::kAdviseMr:
      uv::clear_advice_to_wait(call);
      break;
    case uv::Handler::kModifySrq:
      for (const auto driver : {uv::DriverId::kRxe, uv::DriverId::kSiw})
        (void)uv::redirect_queue_place(call, driver, 0x1000);
      break;
    default:
      break;
  }
}

void execute(const uv::Call& call, const uv::Verb& verb, Bytes payload) {
  const int err = uv::check_attrs(call, verb, uv::UnknownAttrs::kDrop);
  require(err >= 0);
  require(verb.verb_class != uv::VerbClass::kRefused || err == verb.refusal);
  auto built = uv::CallBuilder::from_call(call, verb);
  if (!built) return;
  require(err == 0);
  for (auto& input : built->inputs()) {
    const std::size_t size = std::min(input.bytes.size(), payload.size());
    std::copy_n(payload.begin(), size, input.bytes.begin());
    payload = payload.subspan(size);
  }
  const bool pending = !built->fds().empty();
  require(!pending || built->seal().error() == EBADF);
  for (auto& fd : built->fds())
    require(built->set_fd(fd.attr_id, 3));
  judge(*built, verb);

  auto sealed = built->seal();
  require(sealed.has_value());
  auto again = uv::decode_call(*sealed);
  require(again.has_value() && uv::find_verb(*again) == &verb);
  require(uv::check_attrs(*again, verb, uv::UnknownAttrs::kRefuse) == 0);
  require(again->num_attrs() <= verb.attrs.size());
  for (const uv::AttrSpec& spec : verb.attrs) {
    if (spec.kind == uv::Kind::kPtrOut) {
      (void)built->answer(spec.id, payload.first(std::min<std::size_t>(payload.size(), 40)), true);
    }
  }
  if (verb.handler == uv::Handler::kCreateQp) (void)uv::decode_create_qp_resp(*built, verb);
  (void)uv::decode_made_handle(*built, verb);
  (void)uv::decode_made_fd(*built, verb);
  (void)uv::set_made_fd(*built, verb, 3);
  const std::uint64_t header = 0x10000;
  for (const auto& back : built->write_backs(header)) {
    require(!back.bytes.empty() && back.bytes.size() <= 0xffff);
    unsigned sum = 0;  // touches every byte
    for (const std::byte byte : back.bytes)
      sum += static_cast<unsigned>(byte);
    require(sum != ~0U);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  codecs(bytes);
  auto header = uv::decode_header(bytes);
  auto call = uv::decode_call(bytes);
  require(header.has_value() || !call.has_value());
  if (!call) {
    require(call.error() == EFAULT || call.error() == EINVAL || call.error() == EPROTONOSUPPORT);
    return 0;
  }
  require(call->bytes().size() == header->length && call->num_attrs() <= uv::kMaxAttrs);
  const uv::Verb* verb = uv::find_verb(*call);
  require(verb != nullptr);
  execute(*call, *verb, bytes.subspan(header->length));
  return 0;
}
