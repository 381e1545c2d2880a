// SPDX-License-Identifier: Apache-2.0
#include "tests/support/stub_nic.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vbond/uverbs/device.h"
#include "vbond/uverbs/doorbell.h"

namespace qmasq::test {

using namespace vbond::uverbs;  // NOLINT: the stub speaks of nothing else

namespace {

constexpr std::size_t kFlagsAt = 4;
constexpr std::size_t kDataAt = 8;

std::string name_of(const Call& call) {
  // The one command that the kernel knows and the verb table refuses.
  if (call.write_cmd() == static_cast<std::uint32_t>(WriteCommand::kPostSend)) return "POST_SEND";
  return std::string(find_verb(call)->name);
}

// The part of the kernel's table of steps (drivers/infiniband/core/verbs.c) that says which there
// are and which take an address vector.
bool takes(QpType type, QpState from, const ModifyQp& command) {
  using enum QpState;
  const QpState to = command.sets(qp_mask::kState) ? command.state : from;
  const bool connected = type == QpType::kRc || type == QpType::kUc;
  if (to == kReset || to == kErr) return !command.sets(qp_mask::kAv);
  bool step = false;
  switch (from) {
    case kReset:
      step = to == kInit;
      break;
    case kInit:
      step = to == kInit || to == kRtr;
      break;
    case kRtr:
    case kSqe:
      step = to == kRts;
      break;
    case kRts:
    case kSqd:
      step = to == kRts || to == kSqd;
      break;
    case kErr:
      break;
  }
  const bool must = connected && from == kInit && to == kRtr;
  const bool may = must || (connected && from == kSqd && to == kSqd);
  return step && (command.sets(qp_mask::kAv) ? may : !must);
}

}  // namespace

// A call as the kernel sees it: input copied in, output written through the caller's pointers.
class StubNic::Caller {
 public:
  Caller(std::byte* header, const Call& call) : header_(header), call_(call) {}

  [[nodiscard]] const Call& call() const { return call_; }
  // The ABI carries pointers as numbers.
  static std::byte* memory(std::uint64_t address) {
    return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
  }
  [[nodiscard]] std::vector<std::byte> in(std::uint16_t id) const {
    auto found = call_.find(id);
    if (!found) return {};
    std::vector<std::byte> out(found->len);
    if (out.empty()) return out;
    std::memcpy(out.data(),
                found->is_inline() ? static_cast<const void*>(&found->data) : memory(found->data),
                out.size());
    return out;
  }
  bool out(std::uint16_t id, std::span<const std::byte> bytes) {
    auto index = call_.index_of(id);
    if (!index) return false;
    Attr attribute = call_.attr(*index);
    std::byte* to = memory(attribute.data);
    std::size_t fits = std::min<std::size_t>(bytes.size(), attribute.len);
    if (fits != 0) std::memcpy(to, bytes.data(), fits);
    std::memset(to + fits, 0, attribute.len - fits);
    std::uint16_t flags = attribute.flags | kAttrValidOutput;
    std::memcpy(at(*index) + kFlagsAt, &flags, sizeof(flags));
    return true;
  }
  void set_handle(std::uint16_t id, std::uint32_t handle) {
    if (auto index = call_.index_of(id)) {
      std::uint64_t data = handle;
      std::memcpy(at(*index) + kDataAt, &data, sizeof(data));
    }
  }
  [[nodiscard]] std::uint32_t number(std::uint16_t id) const {
    auto bytes = in(id);
    std::uint32_t out = 0;
    std::memcpy(&out, bytes.data(), std::min(bytes.size(), sizeof(out)));
    return out;
  }

 private:
  std::byte* at(std::size_t index) { return header_ + kHeaderSize + index * kAttrSize; }
  std::byte* header_;
  const Call& call_;
};

vbond::ErrnoOr<int> StubNic::call(std::uint64_t file, void* header) {
  auto* bytes = static_cast<std::byte*>(header);
  std::uint16_t length = 0;
  std::memcpy(&length, bytes, sizeof(length));
  auto call = decode_call(std::span<const std::byte>(bytes, length));
  if (!call) return tl::unexpected(call.error());
  if (call->driver_id() != driver) return tl::unexpected(EINVAL);
  if (before_call) {
    if (int err = before_call(file, *call); err != 0) return tl::unexpected(err);
  }
  const std::string name = name_of(*call);
  std::function<void(const std::string&)> hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (hook) hook(name);
  std::lock_guard lock(mutex_);
  ++calls_[name];
  if (auto failure = failures_.find(name); failure != failures_.end()) {
    int err = failure->second;
    failures_.erase(failure);
    return tl::unexpected(err);
  }
  Caller caller(bytes, *call);
  return serve(file, caller);
}

vbond::ErrnoOr<int> StubNic::serve(std::uint64_t file, Caller& caller) {
  auto result = [](int err) -> vbond::ErrnoOr<int> {
    if (err != 0) return tl::unexpected(err);
    return 0;
  };
  if (name_of(caller.call()) == "POST_SEND") return result(ring(file, caller));
  const Verb& verb = *find_verb(caller.call());
  switch (verb.handler) {
    case Handler::kCreateQp:
      return result(create(file, caller));
    case Handler::kDestroyQp:
      return result(destroy(file, caller));
    case Handler::kModifyQp:
      return result(modify(file, caller));
    case Handler::kQueryQp:
      return result(query(file, caller));
    case Handler::kCreateAh:
      return result(create_ah(file, caller));
    case Handler::kDestroyAh:
      return result(destroy_ah(file, caller));
    case Handler::kCreateCq:
      return result(create_queue(file, caller, true));
    case Handler::kCreateSrq:
    case Handler::kCreateXsrq:
      return result(create_queue(file, caller, false));
    case Handler::kDestroyCq:
      return result(destroy_counted(file, caller, Object::kCq));
    case Handler::kDestroySrq:
      return result(destroy_counted(file, caller, Object::kSrq));
    case Handler::kDeregMr:
      return result(destroy_counted(file, caller, Object::kMr));
    case Handler::kQueryDevice: {
      std::vector<std::byte> answer(kQueryDeviceRespSize);
      (void)set_device_guids(answer, kPhysicalGuid, kPhysicalGuid);
      caller.out(attr::kCoreOut, answer);
      return 0;
    }
    case Handler::kQueryPort: {
      std::vector<std::byte> answer(kQueryPortRespExSize);
      (void)set_gid_table_length(answer, kPhysicalGids);
      caller.out(verb.key.form == Form::kIoctl ? attr::kQueryPortResp : attr::kCoreOut, answer);
      return 0;
    }
    case Handler::kAllocPd:
      return result(make_other(file, caller, Object::kPd));
    case Handler::kAllocMw:
      return result(make_other(file, caller, Object::kMw));
    case Handler::kOpenXrcd:
      return result(make_other(file, caller, Object::kXrcd));
    case Handler::kAllocUar:
      return result(make_other(file, caller, Object::kMlx5Uar));
    case Handler::kDeallocPd:
      return result(destroy_other(file, caller, Object::kPd));
    case Handler::kDeallocMw:
      return result(destroy_other(file, caller, Object::kMw));
    case Handler::kCloseXrcd:
      return result(destroy_other(file, caller, Object::kXrcd));
    case Handler::kFreeUar:
      return result(destroy_other(file, caller, Object::kMlx5Uar));
    case Handler::kModifySrq:
      return result(modify_srq(caller));
    case Handler::kMakeFd:
      return result(make_fd(caller));
    case Handler::kGetContext:
      return result(caller.call().is_invoke_write() ? make_fd(caller) : 0);
    default:
      if (verb.name == "INFO_HANDLES") return result(info_handles(file, caller));
      if (verb.name == "QUERY_MR") return result(query_mr(file, caller));
      return 0;
  }
}

int StubNic::make_other(std::uint64_t file, Caller& caller, Object object) {
  const std::uint32_t handle = free_handle(file);
  others_[{file, handle}] = object;
  if (caller.call().is_invoke_write()) {
    caller.out(attr::kCoreOut, std::as_bytes(std::span(&handle, 1)));
  } else {
    caller.set_handle(attr::kFreeUarHandle, handle);
  }
  return 0;
}

int StubNic::destroy_other(std::uint64_t file, Caller& caller, Object object) {
  std::uint32_t handle = 0;
  if (caller.call().is_invoke_write()) {
    handle = caller.number(attr::kCoreIn);
  } else {
    const std::uint16_t id =
        object == Object::kMlx5Uar ? attr::kFreeUarHandle : attr::kDestroyHandle;
    handle = static_cast<std::uint32_t>(caller.call().find(id)->data);
  }
  auto at = others_.find({file, handle});
  if (at == others_.end() || at->second != object) return ENOENT;
  others_.erase(at);
  return 0;
}

// As rxe does it: the answer goes to an address inside of the driver data.
int StubNic::modify_srq(Caller& caller) const {
  constexpr std::size_t kMaskAt = 4;
  constexpr std::uint32_t kMaxWr = 1;
  if (driver != static_cast<std::uint32_t>(DriverId::kRxe)) return 0;
  const auto command = caller.in(attr::kCoreIn);
  const auto data = caller.in(attr::kUhwIn);
  std::uint32_t mask = 0;
  std::uint64_t address = 0;
  std::memcpy(&mask, command.data() + kMaskAt, sizeof(mask));
  if (data.size() < sizeof(address)) return EINVAL;
  std::memcpy(&address, data.data(), sizeof(address));
  if ((mask & kMaxWr) != 0)
    std::memcpy(Caller::memory(address), kQueuePlace.data(), sizeof(kQueuePlace));
  return 0;
}

int StubNic::make_fd(Caller& caller) {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) return errno;
  if (caller.call().is_invoke_write()) {
    caller.out(attr::kCoreOut, std::as_bytes(std::span(&fd, 1)));
  } else {
    caller.set_handle(0, static_cast<std::uint32_t>(fd));
  }
  return 0;
}

std::size_t StubNic::count(Object object) const {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      others_.begin(), others_.end(), [&](const auto& each) { return each.second == object; }));
}

int StubNic::create_queue(std::uint64_t file, Caller& caller, bool cq) {
  const std::uint32_t handle = free_handle(file);
  (cq ? cqs_ : srqs_).insert({file, handle});
  if (caller.call().is_invoke_write()) {
    std::array<std::uint32_t, 4> answer{handle, 16, 1, 5};
    caller.out(attr::kCoreOut, std::as_bytes(std::span(answer)));
  } else {
    static_assert(attr::kCreateCqHandle == attr::kCreateSrqHandle);
    caller.set_handle(attr::kCreateCqHandle, handle);
    if (cq) caller.out(attr::kCreateCqRespCqe, caller.in(attr::kCreateCqCqe));
  }
  return 0;
}

int StubNic::destroy_counted(std::uint64_t file, Caller& caller, Object object) {
  std::uint32_t handle = 0;
  if (caller.call().is_invoke_write()) {
    auto in = caller.in(attr::kCoreIn);
    std::memcpy(&handle, in.data() + (object == Object::kMr ? 0 : 8), sizeof(handle));
  } else {
    handle = static_cast<std::uint32_t>(caller.call().find(attr::kDestroyHandle)->data);
  }
  const Key key{file, handle};
  const std::size_t gone = object == Object::kCq    ? cqs_.erase(key)
                           : object == Object::kSrq ? srqs_.erase(key)
                                                    : mrs_.erase(key);
  if (gone == 0) return ENOENT;
  const std::uint64_t events = 0;
  if (object != Object::kMr) {
    caller.out(caller.call().is_invoke_write() ? attr::kCoreOut : attr::kDestroyCqResp,
               std::as_bytes(std::span(&events, 1)));
  }
  return 0;
}

int StubNic::info_handles(std::uint64_t file, Caller& caller) {
  std::vector<std::uint32_t> handles;
  auto add = [&](const Key& key) {
    if (key.first == file) handles.push_back(key.second);
  };
  switch (static_cast<Object>(caller.number(attr::kInfoHandlesObject))) {
    case Object::kQp:
      for (const auto& each : qps_)
        add(each.first);
      break;
    case Object::kCq:
      for (const auto& each : cqs_)
        add(each);
      break;
    case Object::kAh:
      for (const auto& each : addresses_)
        add(each.first);
      break;
    case Object::kSrq:
      for (const auto& each : srqs_)
        add(each);
      break;
    case Object::kMr:
      for (const auto& each : mrs_)
        add(each.first);
      break;
    case Object::kPd:
    case Object::kMw:
    case Object::kXrcd:
    case Object::kMlx5Uar:
      for (const auto& each : others_) {
        if (each.second == static_cast<Object>(caller.number(attr::kInfoHandlesObject)))
          add(each.first);
      }
      break;
    default:
      return EINVAL;
  }
  if (!caller.call().find(attr::kInfoHandlesList)) return EINVAL;
  const std::size_t room = caller.call().find(attr::kInfoHandlesList)->len / sizeof(std::uint32_t);
  handles.resize(std::min(handles.size(), room));
  const auto total = static_cast<std::uint32_t>(handles.size());
  caller.out(attr::kInfoHandlesTotal, std::as_bytes(std::span(&total, 1)));
  caller.out(attr::kInfoHandlesList, std::as_bytes(std::span(handles)));
  return 0;
}

int StubNic::query_mr(std::uint64_t file, Caller& caller) {
  auto at =
      mrs_.find({file, static_cast<std::uint32_t>(caller.call().find(attr::kQueryMrHandle)->data)});
  if (at == mrs_.end()) return ENOENT;
  const std::uint32_t key = 7;
  caller.out(attr::kQueryMrRespLkey, std::as_bytes(std::span(&key, 1)));
  caller.out(attr::kQueryMrRespRkey, std::as_bytes(std::span(&key, 1)));
  caller.out(attr::kQueryMrRespLength, std::as_bytes(std::span(&at->second.length, 1)));
  caller.out(attr::kQueryMrRespIova, std::as_bytes(std::span(&at->second.iova, 1)));
  return 0;
}

std::uint32_t StubNic::register_mr(std::uint64_t file, const Mr& mr) {
  std::lock_guard lock(mutex_);
  const std::uint32_t handle = free_handle(file);
  mrs_[{file, handle}] = mr;
  return handle;
}

void StubNic::change_mr(std::uint64_t file, std::uint32_t handle, const Mr& mr) {
  std::lock_guard lock(mutex_);
  mrs_.at({file, handle}) = mr;
}

void StubNic::remove_mr(std::uint64_t file, std::uint32_t handle) {
  std::lock_guard lock(mutex_);
  mrs_.erase({file, handle});
}

std::size_t StubNic::completion_queues() const {
  std::lock_guard lock(mutex_);
  return cqs_.size();
}
std::size_t StubNic::shared_receive_queues() const {
  std::lock_guard lock(mutex_);
  return srqs_.size();
}
std::size_t StubNic::memory_regions() const {
  std::lock_guard lock(mutex_);
  return mrs_.size();
}

int StubNic::create(std::uint64_t file, Caller& caller) {
  Qp qp;
  qp.file = file;
  qp.qpn = next_qpn_++;
  const std::uint32_t handle = free_handle(file);
  if (caller.call().is_invoke_write()) {
    const bool extended = (caller.call().write_cmd() & kWriteExtended) != 0;
    auto request =
        decode_create_qp_write(caller.in(attr::kCoreIn), extended ? Form::kWriteEx : Form::kWrite);
    if (!request) return request.error();
    qp.type = request->type;
    std::array<std::byte, kCreateQpRespSize> answer{};
    (void)encode_create_qp_resp({handle, Qpn{qp.qpn}, request->cap}, answer);
    caller.out(attr::kCoreOut, answer);
  } else {
    qp.type = static_cast<QpType>(caller.number(attr::kCreateQpType));
    caller.set_handle(attr::kCreateQpHandle, handle);
    caller.out(attr::kCreateQpRespCap, caller.in(attr::kCreateQpCap));
    caller.out(attr::kCreateQpRespQpn, std::as_bytes(std::span(&qp.qpn, 1)));
  }
  qps_[{file, handle}] = qp;
  return 0;
}

std::uint32_t StubNic::free_handle(std::uint64_t file) const {
  std::uint32_t out = 0;
  while (qps_.contains({file, out}) || addresses_.contains({file, out}) ||
         cqs_.contains({file, out}) || srqs_.contains({file, out}) || mrs_.contains({file, out}) ||
         others_.contains({file, out}))
    ++out;
  return out;
}

int StubNic::create_ah(std::uint64_t file, Caller& caller) {
  auto request = decode_create_ah(caller.in(attr::kCoreIn));
  if (!request) return request.error();
  const std::uint32_t handle = free_handle(file);
  addresses_[{file, handle}] = request->dest;
  caller.out(attr::kCoreOut, std::as_bytes(std::span(&handle, 1)));
  return 0;
}

int StubNic::destroy_ah(std::uint64_t file, Caller& caller) {
  const std::uint32_t handle =
      caller.call().is_invoke_write()
          ? caller.number(attr::kCoreIn)
          : static_cast<std::uint32_t>(caller.call().find(attr::kDestroyAhHandle)->data);
  return addresses_.erase({file, handle}) == 0 ? ENOENT : 0;
}

int StubNic::destroy(std::uint64_t file, Caller& caller) {
  std::uint32_t handle = 0;
  if (caller.call().is_invoke_write()) {
    auto in = caller.in(attr::kCoreIn);
    std::memcpy(&handle, in.data() + 8, sizeof(handle));  // struct ib_uverbs_destroy_qp
  } else {
    handle = static_cast<std::uint32_t>(caller.call().find(attr::kDestroyQpHandle)->data);
  }
  if (qps_.erase({file, handle}) == 0) return ENOENT;
  std::uint32_t events = 0;
  caller.out(caller.call().is_invoke_write() ? attr::kCoreOut : attr::kDestroyQpResp,
             std::as_bytes(std::span(&events, 1)));
  return 0;
}

int StubNic::modify(std::uint64_t file, Caller& caller) {
  const bool extended = (caller.call().write_cmd() & kWriteExtended) != 0;
  auto request =
      decode_modify_qp(caller.in(attr::kCoreIn), extended ? Form::kWriteEx : Form::kWrite);
  if (!request) return request.error();
  auto at = qps_.find({file, request->qp_handle});
  if (at == qps_.end()) return EINVAL;
  ModifyQp& now = at->second.attributes;
  if (strict_states && !takes(at->second.type, now.state, *request)) return EINVAL;
  if (request->sets(qp_mask::kState)) now.state = request->state;
  if (request->sets(qp_mask::kAv)) now.dest = request->dest;
  if (request->sets(qp_mask::kDestQpn)) now.dest_qpn = request->dest_qpn;
  if (request->sets(qp_mask::kAccessFlags)) now.access_flags = request->access_flags;
  now.attr_mask |= request->attr_mask;
  if (request->goes_to(QpState::kReset)) {  // forgets its peer
    now.dest = {};
    now.dest_qpn = {};
    now.access_flags = 0;
  }
  return 0;
}

int StubNic::query(std::uint64_t file, Caller& caller) {
  auto request = decode_query_qp(caller.in(attr::kCoreIn));
  if (!request) return request.error();
  auto at = qps_.find({file, request->qp_handle});
  if (at == qps_.end()) return EINVAL;
  QueryQpResp answer;
  answer.state = at->second.attributes.state;
  answer.dest = at->second.attributes.dest;
  answer.dest_qpn = at->second.attributes.dest_qpn;
  std::array<std::byte, kQueryQpRespSize> bytes{};
  (void)encode_query_qp_resp(answer, bytes);
  caller.out(attr::kCoreOut, bytes);
  return 0;
}

int StubNic::ring(std::uint64_t file, Caller& caller) {
  auto in = caller.in(attr::kCoreIn);  // struct ib_uverbs_post_send
  std::uint32_t handle = 0;
  std::memcpy(&handle, in.data() + 8, sizeof(handle));
  auto at = qps_.find({file, handle});
  if (at == qps_.end()) return EINVAL;
  ++at->second.rings;
  std::uint32_t bad_wr = 0;
  caller.out(attr::kCoreOut, std::as_bytes(std::span(&bad_wr, 1)));
  return 0;
}

void StubNic::release(std::uint64_t file) {
  std::lock_guard lock(mutex_);
  std::erase_if(qps_, [&](const auto& each) { return each.first.first == file; });
  std::erase_if(addresses_, [&](const auto& each) { return each.first.first == file; });
  std::erase_if(cqs_, [&](const auto& each) { return each.first == file; });
  std::erase_if(srqs_, [&](const auto& each) { return each.first == file; });
  std::erase_if(mrs_, [&](const auto& each) { return each.first.first == file; });
  std::erase_if(others_, [&](const auto& each) { return each.first.first == file; });
}

void StubNic::set_hook(std::function<void(const std::string&)> hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void StubNic::fail_next(const std::string& verb, int err) {
  std::lock_guard lock(mutex_);
  failures_[verb] = err;
}

std::size_t StubNic::queue_pairs() const {
  std::lock_guard lock(mutex_);
  return qps_.size();
}

std::optional<StubNic::Qp> StubNic::find(std::uint64_t file, std::uint32_t handle) const {
  std::lock_guard lock(mutex_);
  auto at = qps_.find({file, handle});
  if (at == qps_.end()) return std::nullopt;
  return at->second;
}

std::optional<QpDest> StubNic::address(std::uint64_t file, std::uint32_t handle) const {
  std::lock_guard lock(mutex_);
  auto at = addresses_.find({file, handle});
  if (at == addresses_.end()) return std::nullopt;
  return at->second;
}

std::size_t StubNic::addresses() const {
  std::lock_guard lock(mutex_);
  return addresses_.size();
}

namespace {

template <typename Value>
std::map<std::uint32_t, Value> of_file(
    const std::map<std::pair<std::uint64_t, std::uint32_t>, Value>& all, std::uint64_t file) {
  std::map<std::uint32_t, Value> out;
  for (auto at = all.lower_bound({file, 0}); at != all.end() && at->first.first == file; ++at)
    out.emplace(at->first.second, at->second);
  return out;
}
std::set<std::uint32_t> of_file(const std::set<std::pair<std::uint64_t, std::uint32_t>>& all,
                                std::uint64_t file) {
  std::set<std::uint32_t> out;
  for (auto at = all.lower_bound({file, 0}); at != all.end() && at->first == file; ++at)
    out.insert(at->second);
  return out;
}

}  // namespace

std::map<std::uint32_t, StubNic::Qp> StubNic::queue_pairs_of(std::uint64_t file) const {
  std::lock_guard lock(mutex_);
  return of_file(qps_, file);
}
std::map<std::uint32_t, QpDest> StubNic::addresses_of(std::uint64_t file) const {
  std::lock_guard lock(mutex_);
  return of_file(addresses_, file);
}
std::set<std::uint32_t> StubNic::completion_queues_of(std::uint64_t file) const {
  std::lock_guard lock(mutex_);
  return of_file(cqs_, file);
}
std::set<std::uint32_t> StubNic::shared_receive_queues_of(std::uint64_t file) const {
  std::lock_guard lock(mutex_);
  return of_file(srqs_, file);
}
std::map<std::uint32_t, StubNic::Mr> StubNic::memory_regions_of(std::uint64_t file) const {
  std::lock_guard lock(mutex_);
  return of_file(mrs_, file);
}

unsigned StubNic::calls(const std::string& verb) const {
  std::lock_guard lock(mutex_);
  auto at = calls_.find(verb);
  return at == calls_.end() ? 0 : at->second;
}

}  // namespace qmasq::test
