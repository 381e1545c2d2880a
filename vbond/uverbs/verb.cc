// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/verb.h"

#include <cerrno>

namespace qmasq::vbond::uverbs {
namespace {

// One known attribute, as uverbs_process_attr() looks at it.
int check_attr(const Attr& attr, const AttrSpec& spec) {
  if (spec.kind != Kind::kEnumIn && (attr.elem_id != 0 || attr.reserved != 0)) return EINVAL;
  switch (spec.kind) {
    case Kind::kEnumIn:
      if (attr.reserved != 0) return EINVAL;
      [[fallthrough]];
    case Kind::kPtrIn:
    case Kind::kPtrOut:
    case Kind::kConstIn:
    case Kind::kFlagsIn:
      if (attr.len < spec.min || (!spec.extensible && attr.len > spec.max)) return EINVAL;
      // uverbs_get_flags64() knows two sizes only.
      if (spec.kind == Kind::kFlagsIn && attr.len != 4 && attr.len != 8) return EINVAL;
      return 0;
    case Kind::kIdrIn:
    case Kind::kIdrNew:
    case Kind::kIdrDestroy:
    case Kind::kFdIn:
    case Kind::kFdNew:
      return attr.len == 0 ? 0 : EINVAL;
    case Kind::kRawFdIn:
      return attr.len == 0 && attr.fd() >= INT32_MIN && attr.fd() <= INT32_MAX ? 0 : EINVAL;
    case Kind::kIdrsIn:
      return attr.len % 4 == 0 && attr.len >= spec.min && attr.len <= spec.max ? 0 : EINVAL;
  }
  return EINVAL;
}

}  // namespace

const AttrSpec* find_spec(const Verb& verb, std::uint16_t attr_id) {
  for (const AttrSpec& spec : verb.attrs) {
    if (spec.id == attr_id) return &spec;
  }
  return nullptr;
}

int check_attrs(const Call& call, const Verb& verb, UnknownAttrs unknown) {
  if (verb.verb_class == VerbClass::kRefused) return verb.refusal;
  std::uint32_t seen = 0;  // bit i: verb.attrs[i]
  std::uint32_t core_in = 0;
  std::uint32_t core_out = 0;
  for (std::size_t i = 0; i < call.num_attrs(); ++i) {
    const Attr attr = call.attr(i);
    const AttrSpec* spec = find_spec(verb, attr.id);
    if (spec == nullptr) {
      if (attr.mandatory() || unknown == UnknownAttrs::kRefuse) return EPROTONOSUPPORT;
      continue;
    }
    const std::uint32_t bit = 1U << static_cast<unsigned>(spec - verb.attrs.data());
    if ((seen & bit) != 0) return EINVAL;
    if (const int err = check_attr(attr, *spec); err != 0) return err;
    seen |= bit;
    if (verb.key.form != Form::kIoctl) {
      if (attr.id == attr::kCoreIn) core_in = attr.len;
      if (attr.id == attr::kCoreOut) core_out = attr.len;
    }
  }
  for (std::size_t i = 0; i < verb.attrs.size(); ++i) {
    if (verb.attrs[i].mandatory && (seen & (1U << i)) == 0) return EINVAL;
  }
  if (core_in < verb.core_in_min || core_out < verb.core_out_min) return ENOSPC;
  return 0;
}

std::string_view to_string(VerbClass verb_class) {
  switch (verb_class) {
    case VerbClass::kAddress:
      return "address";
    case VerbClass::kMemory:
      return "memory";
    case VerbClass::kNeutral:
      return "neutral";
    case VerbClass::kRefused:
      return "refused";
  }
  return "?";
}

std::string_view to_string(RunIn run_in) {
  switch (run_in) {
    case RunIn::kNowhere:
      return "nowhere";
    case RunIn::kTenant:
      return "tenant";
    case RunIn::kAgent:
      return "agent";
    case RunIn::kAgentOnSoftwareNic:
      return "agent on software NICs";
  }
  return "?";
}

std::string_view to_string(Handler handler) {
  switch (handler) {
    case Handler::kNone:
      return "none";
    case Handler::kGetContext:
      return "get_context";
    case Handler::kQueryDevice:
      return "query_device";
    case Handler::kQueryPort:
      return "query_port";
    case Handler::kQueryGidTable:
      return "query_gid_table";
    case Handler::kQueryGidEntry:
      return "query_gid_entry";
    case Handler::kModifyQp:
      return "modify_qp";
    case Handler::kQueryQp:
      return "query_qp";
    case Handler::kCreateQp:
      return "create_qp";
    case Handler::kDestroyQp:
      return "destroy_qp";
    case Handler::kCreateCq:
      return "create_cq";
    case Handler::kDestroyCq:
      return "destroy_cq";
    case Handler::kDestroySrq:
      return "destroy_srq";
    case Handler::kDeregMr:
      return "dereg_mr";
    case Handler::kCreateSrq:
      return "create_srq";
    case Handler::kCreateXsrq:
      return "create_xsrq";
    case Handler::kRegMr:
      return "reg_mr";
    case Handler::kReregMr:
      return "rereg_mr";
    case Handler::kCreateAh:
      return "create_ah";
    case Handler::kDestroyAh:
      return "destroy_ah";
    case Handler::kOpenXrcd:
      return "open_xrcd";
    case Handler::kCloseXrcd:
      return "close_xrcd";
    case Handler::kAllocPd:
      return "alloc_pd";
    case Handler::kDeallocPd:
      return "dealloc_pd";
    case Handler::kAllocMw:
      return "alloc_mw";
    case Handler::kDeallocMw:
      return "dealloc_mw";
    case Handler::kAllocUar:
      return "alloc_uar";
    case Handler::kFreeUar:
      return "free_uar";
    case Handler::kModifySrq:
      return "modify_srq";
    case Handler::kAdviseMr:
      return "advise_mr";
    case Handler::kMakeFd:
      return "make_fd";
  }
  return "?";
}

std::string_view to_string(Form form) {
  switch (form) {
    case Form::kIoctl:
      return "ioctl";
    case Form::kWrite:
      return "write";
    case Form::kWriteEx:
      return "write_ex";
  }
  return "?";
}

}  // namespace qmasq::vbond::uverbs
