// SPDX-License-Identifier: Apache-2.0
// What the agent makes the kernel do and what it writes to tenants, judged as it happens.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/intercept_script/arena.h"
#include "vbond/rename/permission.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::fuzz {

namespace uverbs = vbond::uverbs;
namespace qp_mask = uverbs::qp_mask;
using uverbs::Handler;
using vbond::Context;

namespace {

// Input of a call that the agent made: in its own memory, as the kernel finds it.
std::vector<std::byte> input_of(const uverbs::Call& call, std::uint16_t id) {
  auto found = call.find(id);
  if (!found) return {};
  std::vector<std::byte> out(found->len);
  if (out.empty()) return out;
  const void* at = &found->data;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the ABI carries pointers as numbers
  if (!found->is_inline()) at = reinterpret_cast<const void*>(found->data);
  std::memcpy(out.data(), at, out.size());
  return out;
}

bool takes_away(const uverbs::Verb& verb) {
  return verb.handler == Handler::kDestroyQp || verb.handler == Handler::kDestroyCq ||
         verb.handler == Handler::kDestroySrq || verb.handler == Handler::kDeregMr ||
         verb.handler == Handler::kDestroyAh;
}

bool contains(std::span<const std::byte> bytes, std::span<const std::uint8_t> wanted) {
  auto raw = std::as_bytes(wanted);
  return std::search(bytes.begin(), bytes.end(), raw.begin(), raw.end()) != bytes.end();
}

}  // namespace

std::shared_ptr<Context> Arena::context_of(std::uint64_t file) const {
  for (const auto& attachment : attachments_) {
    for (auto& context : attachment->contexts().all()) {
      if (kernel.file_behind(context->file->descriptor()) == file) return context;
    }
  }
  return nullptr;
}

int Arena::on_call(std::uint64_t file, const uverbs::Call& call) {
  if (tenant_executes_) return 0;
  const uverbs::Verb& verb = *uverbs::find_verb(call);
  const bool asks = verb.name == "INFO_HANDLES" || verb.name == "QUERY_MR";
  if (std::this_thread::get_id() != main_) {
    if (!takes_away(verb) && !asks)
      violated("a context that is closed executes " + std::string(verb.name));
    return 0;
  }
  const bool rings =
      call.write_cmd() == static_cast<std::uint32_t>(uverbs::WriteCommand::kPostSend);
  if (verb.verb_class == uverbs::VerbClass::kRefused && !rings)
    violated("a refused verb was executed: " + std::string(verb.name));
  const auto owner = context_of(file);
  if (owner == nullptr) {
    // Closed meanwhile, or handed out in vain.
    if (!takes_away(verb) && !asks && !rings)
      violated("executed on a file of nobody: " + std::string(verb.name));
    return current_.attachment == nullptr ? 0 : disturbed(Point::kCall);
  }
  if (current_.attachment != nullptr && !asks && !takes_away(verb) &&
      owner->info.endpoint != current_.attachment->endpoint)
    violated("executed on a context of another endpoint: " + std::string(verb.name));
  // First what comes between the decision and the kernel, then the judgement.
  const int err = disturbed(Point::kCall);
  if (err != 0) return err;
  if (verb.handler == Handler::kModifyQp) judge_modify(file, *owner, call);
  if (verb.handler == Handler::kAdviseMr &&
      (call.value(uverbs::attr::kAdviseMrFlags).value_or(0) & 1U) != 0)
    violated("ADVISE_MR that waits for pages");
  if (verb.handler == Handler::kCreateAh) {
    auto command = uverbs::decode_create_ah(input_of(call, uverbs::attr::kCoreIn));
    if (!command) violated("CREATE_AH that cannot be read");
    judge_destination(owner->info.endpoint, command->dest, conntrack::Transport::kUd);
  }
  return 0;
}

void Arena::judge_destination(EndpointUid own, const uverbs::QpDest& dest,
                              conntrack::Transport transport) {
  if (!dest.is_global || dest.sgid_index != 1)
    violated("executed with sgid_index " + std::to_string(dest.sgid_index));
  auto admitted = [&](const Oracle& oracle) {
    if (!oracle.any(own, dest.dgid, transport)) return false;
    const vbond::EndpointView* us = oracle.find(own);
    if (!asked || unsound_) return true;
    const vbond::EndpointView* peer = oracle.owner(us->vpc, *asked);
    return peer != nullptr && Oracle::physical(peer->host) == dest.dgid;
  };
  // What changed while the call was on its way takes effect right behind it: check() looks.
  if (std::none_of(said_.begin(), said_.end(), admitted))
    violated("executed towards " + to_string(dest.dgid.address()) +
             ", where no peer is that the rules admit");
}

void Arena::judge_modify(std::uint64_t file, const Context& owner, const uverbs::Call& call) {
  const bool extended = (call.write_cmd() & uverbs::kWriteExtended) != 0;
  auto command = uverbs::decode_modify_qp(input_of(call, uverbs::attr::kCoreIn),
                                          extended ? uverbs::Form::kWriteEx : uverbs::Form::kWrite);
  if (!command) violated("MODIFY_QP that cannot be read");
  if (command->sets(qp_mask::kAltPath) || !command->alt_dest.dgid.is_zero())
    violated("MODIFY_QP with an alternate path");
  constexpr std::uint32_t kPrivileged = 0x80000000U;
  if (command->sets(qp_mask::kQkey) && (command->qkey & kPrivileged) != 0)
    violated("MODIFY_QP with a privileged Q_Key");
  if (!command->sets(qp_mask::kAv)) {
    if (!command->dest.dgid.is_zero()) violated("MODIFY_QP with an address that the mask hides");
    return;
  }
  judge_destination(owner.info.endpoint, command->dest,
                    transport(file, owner.info.id, command->qp_handle));
}

// On hardware the agent has the tenant's word for a QP's type (executor.h): what it makes of that
// is held to it.
conntrack::Transport Arena::transport(std::uint64_t file, std::uint64_t context,
                                      std::uint32_t handle) const {
  if (mode.hardware) return vbond::transport_of(world.connections.qpns({context, handle}).type);
  const auto has = kernel.nic.queue_pairs_of(file);
  auto at = has.find(handle);
  return vbond::transport_of(at == has.end() ? uverbs::QpType{} : at->second.type);
}

int Arena::on_write(std::span<const vbond::TenantMemory::Out> pieces) {
  if (!tenant_executes_ && !knows_address) {
    for (const auto& piece : pieces) {
      for (std::uint64_t host = 1; host <= Oracle::kHosts; ++host) {
        if (contains(piece.bytes, Oracle::physical(HostUid{host}).raw))
          violated("a physical GID was written to a tenant");
      }
      if (contains(piece.bytes, test::StubNic::kPhysicalGuid))
        violated("a GUID of the NIC was written to a tenant");
    }
  }
  return disturbed(Point::kWrite);
}

}  // namespace qmasq::fuzz
