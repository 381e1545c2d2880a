// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/intercept_script/arena.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "vbond/intercept/quota.h"
#include "vbond/rename/policy_change.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::fuzz {

namespace uverbs = vbond::uverbs;
using test::CallResult;
using vbond::Attachment;
using How = CallResult::How;

void violated(const std::string& what) {
  std::fprintf(stderr, "violated: %s\n", what.c_str());
  std::abort();
}

namespace {

vbond::InterceptOptions options_of(const Mode& mode) {
  vbond::InterceptOptions out;
  out.reserved_first = Arena::kReserved;
  out.reserved_count = Arena::kReservedCount;
  if (mode.few_contexts) out.max_contexts = 2;
  if (mode.tenant_opens) out.tenant_opens = {"rxe0"};
  return out;
}

vbond::Nic nic_of(const Mode& mode) {
  vbond::Nic out;
  out.device = "rxe0";
  out.driver = mode.hardware ? "mlx5" : "rxe";
  out.active = true;
  out.active_mtu = 1024;
  out.primary = vbond::PhysicalGid{1, Oracle::physical(Oracle::kHere), vbond::GidType::kRoceV2};
  out.gids = {*out.primary};
  return out;
}

// As rules ask for datagrams.
void admit_datagrams(Oracle& oracle) {
  for (auto& [uid, group] : oracle.groups) {
    for (auto direction : {conntrack::Direction::kIngress, conntrack::Direction::kEgress}) {
      conntrack::Rule rule;
      rule.id = direction == conntrack::Direction::kIngress ? "ud-in" : "ud-out";
      rule.direction = direction;
      rule.transport = conntrack::Transport::kUd;
      group.rules.push_back(rule);
    }
  }
}

}  // namespace

Arena::Arena(const Mode& mode_in)
    : mode(mode_in),
      nics_{nic_of(mode_in)},
      services_{world.parts(kernel), options_of(mode_in), vbond::InterceptMetrics(*world.registry)},
      watch_(services_),
      dispatcher_(services_, watch_, [this](const Attachment& asking, int own) {
        return std::any_of(attachments_.begin(), attachments_.end(), [&](const auto& each) {
          return each.get() != &asking && each->contexts().has_file(own);
        });
      }) {
  services_.reclaim = [this](const vbond::Tenancy& tenancy, bool all_of_vpc) {
    vbond::reclaim(attachments_, watch_, kernel, tenancy, all_of_vpc);
  };
  kernel.nic.strict_states = true;
  if (mode.hardware) kernel.nic.driver = static_cast<std::uint32_t>(uverbs::DriverId::kMlx5);
  set_nic(true);
  if (mode.datagrams) admit_datagrams(now);
  world.endpoints.set_listener([this](EndpointUid uid, const vbond::EndpointPtr& endpoint) {
    if (endpoint == nullptr) to_detach_.push_back(uid);
  });
  change(now.snapshot());
  kernel.nic.before_call = [this](std::uint64_t file, const uverbs::Call& call) {
    return on_call(file, call);
  };
  kernel.before_read = [this](pid_t /*tid*/) { return disturbed(Point::kRead); };
  kernel.before_write = [this](pid_t /*tid*/, std::span<const vbond::TenantMemory::Out> pieces) {
    return on_write(pieces);
  };
  attach(EndpointUid{11});
  attach(EndpointUid{21});
}

Arena::~Arena() {
  for (const auto& attachment : attachments_) {
    attachment->stop();
    attachment->bury(attachment->contexts().close(), /*abandoned=*/false);
    attachment->wait_buried();
  }
}

bool Arena::alive(const Task& task) const {
  return const_cast<test::FakeKernel&>(kernel).process_of(task.process).has_value();
}

void Arena::attach(EndpointUid endpoint) {
  auto local = world.endpoints.find(endpoint);
  if (!local) return;
  Task task;
  task.process = kernel.add_process("tenant");
  task.attachment = attachments_.size();
  if (mode.two_threads) task.thread = kernel.add_thread(task.process);
  attachments_.push_back(std::make_shared<Attachment>(
      services_, kernel.listen(task.process),
      Attachment::Identity{endpoint, local->name, task.process, "tenant", 0, {}, false},
      [](Attachment&, const vbond::Notification&, vbond::CallSlot*) {}, [] {}));
  tasks.push_back(task);
}

void Arena::set_nic(bool there) {
  (void)world.nics.update(there ? nics_ : std::vector<vbond::Nic>{});
}

void Arena::change(const vbond::Change& change) {
  world.peers.apply(change);
  world.endpoints.apply(change);
  world.policies.apply(change);
  for (auto& effect : world.tracker.apply(vbond::policy_change(change)))
    effects_.push_back(std::move(effect));
  bars_ = true;
  if (current_.attachment == nullptr) {
    enforce();
  } else {
    said_.push_back(now);
  }
}

// As Interceptor::enforce() and the agent's listener do.
void Arena::enforce() {
  const auto effects = std::exchange(effects_, {});
  std::vector<vbond::QpKey> barred;
  if (std::exchange(bars_, false)) barred = world.renamer.barred_datagrams();
  auto with_context = [&](std::uint64_t id, auto&& act) {
    for (const auto& attachment : attachments_) {
      for (const auto& context : attachment->contexts().all()) {
        if (context->info.id != id) continue;
        std::lock_guard lock(context->mutex);
        if (context->closed) return;
        act(vbond::Hands{[&](const uverbs::ModifyQp& command) {
                           return vbond::modify_queue_pair(*context, command);
                         },
                         [&](std::uint32_t handle) {
                           const int err = vbond::destroy_address_handle(*context, handle);
                           if (err == 0) context->address_handles.cut(handle);
                           return err;
                         }});
        return;
      }
    }
  };
  for (const auto& effect : effects) {
    with_context(effect.connection.key.context,
                 [&](const vbond::Hands& hands) { world.renamer.enforce(effect, hands); });
  }
  for (const auto& key : barred)
    with_context(key.context,
                 [&](const vbond::Hands& hands) { world.renamer.bar_datagram(key, hands); });
  for (EndpointUid uid : std::exchange(to_detach_, {})) {
    for (const auto& attachment : attachments_) {
      if (attachment->endpoint != uid) continue;
      attachment->revoke();
      attachment->bury(attachment->contexts().close(), /*abandoned=*/false);
      attachment->wait_buried();
    }
  }
}

int Arena::disturbed(Point point) {
  if (current_.attachment == nullptr || std::this_thread::get_id() != main_) return 0;
  int err = 0;
  // By number: what acts may not add any, but what it does may be disturbed itself.
  for (std::size_t i = 0; i < disturbances_.size(); ++i) {
    Disturbance& each = disturbances_[i];
    if (each.point != point || each.countdown == 0 || --each.countdown != 0) continue;
    const int one = each.act();
    if (err == 0) err = one;
  }
  return err;
}

CallResult Arena::trap(const Task& task, bool second_thread, int nr,
                       std::vector<std::uint64_t> args) {
  const Task copy = task;  // `tasks` may grow meanwhile
  const pid_t tid = second_thread && copy.thread != 0 ? copy.thread : copy.process;
  Attachment& attachment = *attachments_[copy.attachment];
  said_ = {now};
  current_ = {&attachment, &copy};
  const vbond::Notification call = kernel.make_trap(tid, nr, args);
  dispatcher_.handle(attachment, call, nullptr);
  current_ = {};
  asked.reset();
  unsound_ = false;
  was_disturbed_ = !disturbances_.empty();
  disturbances_.clear();
  // What the call found abandoned.
  for (const auto& each : attachments_)
    each->wait_buried();
  enforce();
  const auto result = kernel.result(call.id);
  if (!result) violated("a call was not answered");
  if (kernel.double_answers() != 0) violated("a call was answered twice");
  if (trace) {
    std::fprintf(stderr, "  call %d: how %d value %ld err %d%s\n", nr,
                 static_cast<int>(result->how), static_cast<long>(result->value), result->err,
                 was_disturbed_ ? ", disturbed" : "");
  }
  if (result->how == How::kRan && nr == SYS_write && !mode.tenant_opens &&
      kernel.file_of(copy.process, static_cast<int>(args[0])) != 0) {
    auto device = kernel.device_of(copy.process, static_cast<int>(args[0]));
    if (device && *device == test::FakeKernel::kVerbsDevice && !was_disturbed_)
      violated("a write on a verbs device was let run");
  }
  return *result;
}

CallResult Arena::verb(const Task& task, bool second_thread, int fd, Draft& draft, bool scattered) {
  const Task copy = task;
  if (draft.driver_id == 0) draft.driver_id = kernel.nic.driver;
  const std::uint64_t header = draft.place(kernel, copy.process, scattered);
  last_header_ = header;
  const auto result = trap(copy, second_thread, SYS_ioctl,
                           {static_cast<std::uint64_t>(fd), uverbs::kVerbsIoctl, header});
  // What another thread puts into a call that was let run is the guard's to see, not this one's.
  if (result.how == How::kRan && !was_disturbed_) run_in_tenant(copy, fd, header);
  return result;
}

void Arena::poke(pid_t process, std::uint64_t address, std::span<const std::byte> bytes) {
  if (kernel.process_of(process)) kernel.poke(process, address, bytes);
}

std::uint32_t Arena::made_handle(const Task& task) const {
  constexpr std::size_t kDataOfFirst = uverbs::kHeaderSize + 8;
  auto& mutable_kernel = const_cast<test::FakeKernel&>(kernel);
  const auto bytes = mutable_kernel.peek(task.process, last_header_ + kDataOfFirst, 4);
  std::uint32_t out = 0;
  if (bytes.size() == sizeof(out)) std::memcpy(&out, bytes.data(), sizeof(out));
  return out;
}

// What docs/adr/0002 names, and not what the table says.
bool Arena::may_run(std::string_view verb) const {
  static constexpr std::array<std::string_view, 3> kAnywhere = {"REG_MR", "REREG_MR",
                                                                "REG_DMABUF_MR"};
  static constexpr std::array<std::string_view, 9> kOnHardware = {
      "CREATE_CQ",  "EX_CREATE_CQ", "RESIZE_CQ",  "CREATE_QP", "EX_CREATE_QP",
      "CREATE_SRQ", "CREATE_XSRQ",  "MODIFY_SRQ", "ADVISE_MR"};
  auto among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), verb) != names.end();
  };
  return among(kAnywhere) || (mode.hardware && among(kOnHardware));
}

// The kernel executes the tenant's own call with what is in its memory.
void Arena::run_in_tenant(const Task& task, int fd, std::uint64_t header) {
  if (!alive(task)) return;
  const std::uint64_t file = kernel.file_of(task.process, fd);
  auto device = kernel.device_of(task.process, fd);
  if (!device || *device != test::FakeKernel::kVerbsDevice) return;
  std::vector<std::byte> bytes(uverbs::kMaxCallSize);
  auto have = kernel.read_some(task.process, header, bytes);
  if (!have) return;
  auto call = uverbs::decode_call(std::span<const std::byte>(bytes).first(*have));
  if (!call) return;
  const uverbs::Verb& verb = *uverbs::find_verb(*call);
  if (verb.verb_class == uverbs::VerbClass::kRefused)
    violated("a refused verb was let run: " + std::string(verb.name));
  if (verb.verb_class == uverbs::VerbClass::kAddress)
    violated("an address verb was let run: " + std::string(verb.name));
  if (!may_run(verb.name))
    violated("a verb was let run that needs nothing of the tenant: " + std::string(verb.name));
  auto copy = uverbs::CallBuilder::from_call(*call, verb);
  if (!copy) return;
  for (const auto& input : copy->inputs()) {
    vbond::TenantMemory::In piece{input.address, input.bytes};
    if (kernel.read(task.process, std::span(&piece, 1)) != 0) return;
  }
  for (const auto& each : copy->fds())
    (void)copy->set_fd(each.attr_id, 0);
  constexpr std::uint64_t kPageMask = 4095;
  constexpr std::uint64_t kMostMemory = std::uint64_t{1} << 40U;
  auto sound = [&](const uverbs::RegMr& memory) {
    return memory.length != 0 && memory.length < kMostMemory &&
           (memory.start & kPageMask) == (memory.iova & kPageMask);
  };
  if (verb.handler == uverbs::Handler::kRegMr) {
    auto command = uverbs::decode_reg_mr(*copy, verb);
    if (command && sound(*command)) {
      (void)kernel.nic.register_mr(file, {command->length, command->iova});
    }
    return;
  }
  if (verb.handler == uverbs::Handler::kReregMr) {
    auto command = uverbs::decode_rereg_mr(copy->in(uverbs::attr::kCoreIn));
    if (!command || (command->flags & uverbs::ReregMr::kTranslation) == 0) return;
    if (sound(command->memory) && kernel.nic.memory_regions_of(file).contains(command->mr_handle)) {
      kernel.nic.change_mr(file, command->mr_handle,
                           {command->memory.length, command->memory.iova});
    }
    return;
  }
  // Of the others, those that make something.
  if (!vbond::made_by(verb)) return;
  auto sealed = copy->seal();
  if (!sealed) return;
  tenant_executes_ = true;
  const auto done = kernel.nic.call(file, sealed->data());
  tenant_executes_ = false;
  if (!done) return;
  for (const auto& result : copy->write_backs(header)) {
    vbond::TenantMemory::Out piece{result.address, result.bytes};
    if (kernel.write(task.process, std::span(&piece, 1)) != 0) return;
  }
}

void Arena::look_for_holders() {
  for (const auto& attachment : attachments_) {
    (void)watch_.collect(*attachment);
    attachment->wait_buried();
  }
}

void Arena::settle_all() {
  for (const Task& task : tasks) {
    Attachment& attachment = *attachments_[task.attachment];
    attachment.flights.landed(task.process);
    if (task.thread != 0) attachment.flights.landed(task.thread);
  }
  vbond::settle_all(attachments_, kernel);
}

}  // namespace qmasq::fuzz
