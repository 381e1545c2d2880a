// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/gid_queries.h"

#include <cerrno>
#include <cstdint>
#include <span>
#include <vector>

#include "vbond/uverbs/device.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::vbond {
namespace {

namespace attr = uverbs::attr;

int answer_entry(Renamer& renamer, const ContextInfo& context, uverbs::CallBuilder& call) {
  if (call.value(attr::kGidEntryFlags).value_or(0) != 0) return EINVAL;
  const auto port = call.value(attr::kGidEntryPort).value_or(0);
  const auto index = call.value(attr::kGidEntryIndex).value_or(0);
  if (port > UINT32_MAX || index > UINT32_MAX) return EINVAL;
  auto entry = renamer.gid_entry(context, static_cast<std::uint32_t>(port),
                                 static_cast<std::uint32_t>(index));
  if (!entry) return entry.error().err;
  const auto bytes = uverbs::encode_gid_entry(*entry);
  return call.answer(attr::kGidEntryResp, bytes, /*zero_rest=*/true) ? 0 : EINVAL;
}

int answer_table(Renamer& renamer, const ContextInfo& context, uverbs::CallBuilder& call) {
  if (call.value(attr::kGidTableFlags).value_or(0) != 0) return EINVAL;
  const auto entries = renamer.gid_table(context);
  std::vector<std::byte> table(call.out(attr::kGidTableRespEntries).size());
  auto used =
      uverbs::encode_gid_table(entries, call.value(attr::kGidTableEntrySize).value_or(0), table);
  if (!used) return used.error();
  const std::uint64_t count = entries.size();
  const bool fits = call.answer(attr::kGidTableRespEntries, std::span(table).first(*used),
                                /*zero_rest=*/false) &&
                    call.answer(attr::kGidTableRespNumEntries, std::as_bytes(std::span(&count, 1)),
                                /*zero_rest=*/false);
  return fits ? 0 : EINVAL;
}

}  // namespace

int answer_gids(Renamer& renamer, const ContextInfo& context, const uverbs::Verb& verb,
                uverbs::CallBuilder& call) {
  return verb.handler == uverbs::Handler::kQueryGidEntry ? answer_entry(renamer, context, call)
                                                         : answer_table(renamer, context, call);
}

}  // namespace qmasq::vbond
