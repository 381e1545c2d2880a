// SPDX-License-Identifier: Apache-2.0
#include "vbond/guard/violation.h"

#include <fmt/format.h>

#include <cstring>
#include <string>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {
namespace {

std::string printable(const char* name, std::size_t size) {
  std::string out(name, ::strnlen(name, size));
  for (char& each : out) {
    if (each < 0x20 || each > 0x7e) each = '?';
  }
  return out;
}

std::string named(std::string_view name, const char* kind, std::uint32_t number) {
  return name.empty() ? fmt::format("{} {:#x}", kind, number) : std::string(name);
}

}  // namespace

std::string_view verb_of_method(std::uint32_t key) {
  for (const uverbs::Verb& verb : uverbs::all_verbs()) {
    if (verb.key.form == uverbs::Form::kIoctl && key != 0 &&
        method_key(verb.key.object, verb.key.method) == key)
      return verb.name;
  }
  return {};
}

std::string_view verb_of_command(std::uint32_t command) {
  const auto form =
      (command & uverbs::kWriteExtended) != 0 ? uverbs::Form::kWriteEx : uverbs::Form::kWrite;
  for (const uverbs::Verb& verb : uverbs::all_verbs()) {
    if (verb.key.form == form && verb.key.method == (command & uverbs::kWriteCommandMask))
      return verb.name;
  }
  return {};
}

Violation violation_of(const qmasq_guard_event& event) {
  Violation out;
  out.context = event.context;
  out.pid = static_cast<pid_t>(event.pid);
  out.tid = static_cast<pid_t>(event.tid);
  out.command = printable(event.name, sizeof event.name);
  switch (event.what) {
    case QMASQ_DID_METHOD:
      out.what = "method";
      out.reason = named(verb_of_method(event.method), "method", event.method) +
                   " was called, which the agent had not let run";
      break;
    case QMASQ_DID_COMMAND:
      out.what = "command";
      out.reason = named(verb_of_command(event.command), "command", event.command) +
                   " was called, which the agent had not let run";
      break;
    case QMASQ_DID_WRITE:
      out.what = "write";
      out.reason = named(verb_of_command(event.command), "command", event.command) +
                   " was called by write()";
      break;
    case QMASQ_DID_MODIFY_QP:
      out.what = "modify_qp";
      out.reason = "a queue pair was modified behind the agent's back";
      break;
    case QMASQ_DID_CREATE_AH:
      out.what = "create_ah";
      out.reason = "an address handle was made behind the agent's back";
      break;
    case QMASQ_DID_CREATE_QP:
      out.what = "create_qp";
      out.reason = "a queue pair of another type than was checked was made";
      break;
    case QMASQ_DID_OPEN:
      out.what = "open";
      out.reason = "a verbs device was opened while the guard can keep track of no more files";
      break;
    default:
      out.what = "unknown";
      out.reason = "a call that the agent had not let run";
      break;
  }
  return out;
}

}  // namespace qmasq::vbond
