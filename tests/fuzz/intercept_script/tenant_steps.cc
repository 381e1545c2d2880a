// SPDX-License-Identifier: Apache-2.0
// The steps of tenants.
#include <fcntl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "tests/fuzz/intercept_script/player.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::fuzz {

namespace uverbs = vbond::uverbs;
namespace qp_mask = uverbs::qp_mask;
using test::CallResult;
using uverbs::Form;
using uverbs::Object;
using uverbs::QpState;
using uverbs::QpType;
using uverbs::WriteCommand;
using uverbs::WriteExCommand;
using How = CallResult::How;

namespace {

std::uint32_t plain(WriteCommand command) {
  return static_cast<std::uint32_t>(command);
}
std::uint32_t extended(WriteExCommand command) {
  return static_cast<std::uint32_t>(command) | uverbs::kWriteExtended;
}
std::span<const std::byte> bytes_of(const std::uint32_t& number) {
  return std::as_bytes(std::span(&number, 1));
}

}  // namespace

CallResult Player::call(const Task& task, const Step& step, Draft& draft) {
  if ((step.who & 0x80U) != 0) draft.twist(step.f, static_cast<std::uint8_t>(step.f >> 4U), step.y);
  if (draft.twisted()) arena_.asked.reset();
  return arena_.verb(task, second_thread(step), descriptor((step.who & 32U) != 0 ? step.e : 0),
                     draft, (step.who & 16U) != 0);
}

void Player::open(const Task& task, const Step& step) {
  static constexpr const char* kPaths[] = {
      "/dev/infiniband/uverbs0",
      "/dev/infiniband/uverbs0",
      "/dev/infiniband/uverbs0",
      "/dev//infiniband/./uverbs0",
      "/dev/infiniband/uverbs1",
      "/dev/infiniband/../infiniband/uverbs0",
      "/dev/null",
      "/dev/infiniband/uverbs00000000000000000000000000000000"};
  static constexpr int kFlags[] = {O_RDWR | O_CLOEXEC,
                                   O_RDWR,
                                   O_WRONLY,
                                   O_RDONLY,
                                   O_RDWR | O_PATH,
                                   O_RDWR | O_CREAT | O_EXCL,
                                   O_RDWR | O_DIRECTORY,
                                   O_RDWR | O_NONBLOCK};
  const std::string path = kPaths[step.a % 8U];
  const auto flags = static_cast<std::uint64_t>(kFlags[step.b < 128 ? 0 : step.b % 8U]);
  std::vector<std::byte> text(path.size() + ((step.c & 64U) != 0 ? 0 : 1));
  std::memcpy(text.data(), path.c_str(), text.size());
  const std::uint64_t address = arena_.kernel.map(task.process, text);
  const auto at_cwd = static_cast<std::uint64_t>(AT_FDCWD);
  CallResult result;
  if (step.c % 4U == 1) {
    std::array<std::uint64_t, 3> how{flags, 0, 0};
    const auto how_at = arena_.kernel.map(task.process, std::as_bytes(std::span(how)));
    result = arena_.trap(task, second_thread(step), SYS_openat2, {at_cwd, address, how_at, 24});
  } else if (step.c % 4U == 2) {
    result = arena_.trap(task, second_thread(step), SYS_open, {address, flags});
  } else {
    result = arena_.trap(task, second_thread(step), SYS_openat, {at_cwd, address, flags});
  }
  if (result.how == How::kRan && path == kPaths[0] && text.size() > path.size() &&
      !arena_.mode.tenant_opens && (flags & O_PATH) == 0 && !arena_.was_disturbed())
    violated("the open of a verbs device was let run");
}

void Player::any_verb(const Task& task, const Step& step) {
  const auto all = uverbs::all_verbs();
  Draft draft = Draft::of(all[step.a % all.size()], step);
  (void)call(task, step, draft);
}

std::uint32_t Player::create_qp(const Task& task, const Step& step) {
  constexpr QpType kTypes[] = {QpType::kRc,     QpType::kRc,        QpType::kUc,
                               QpType::kUd,     QpType::kRawPacket, QpType::kXrcIni,
                               QpType::kXrcTgt, QpType::kDriver};
  const QpType type = kTypes[step.b % 8U];
  if (step.a % 4U == 1 || step.a % 4U == 2) {
    const bool ex = step.a % 4U == 2;
    uverbs::CreateQp command;
    command.type = type;
    command.pd = 1;
    command.send_cq = step.c % 4U;
    command.recv_cq = step.c % 4U;
    command.cap.max_send_wr = 16;
    command.create_flags = ex ? step.d : 0;
    if (ex && (step.x & 1U) != 0) command.source_qpn = step.x;
    std::array<std::byte, uverbs::kExCreateQpSize> core_in{};
    (void)uverbs::encode_create_qp_write(command, ex ? Form::kWriteEx : Form::kWrite, core_in);
    Draft draft =
        Draft::write(ex ? extended(WriteExCommand::kCreateQp) : plain(WriteCommand::kCreateQp));
    draft
        .in(uverbs::attr::kCoreIn,
            std::span(core_in).first(ex ? uverbs::kExCreateQpSize : uverbs::kCreateQpSize))
        .out(uverbs::attr::kCoreOut, ex ? 40 : uverbs::kCreateQpRespSize);
    (void)call(task, step, draft);
    return UINT32_MAX;
  }
  std::array<std::byte, uverbs::kQpCapSize> cap{};
  cap[0] = std::byte{16};
  Draft draft = Draft::ioctl(Object::kQp, 0);
  draft.handle(uverbs::attr::kCreateQpHandle, 0)
      .handle(uverbs::attr::kCreateQpPd, 1)
      .handle(uverbs::attr::kCreateQpSendCq, step.c % 4U)
      .handle(uverbs::attr::kCreateQpRecvCq, step.c % 4U)
      .number(uverbs::attr::kCreateQpUserHandle, 42)
      .in(uverbs::attr::kCreateQpCap, cap)
      .number(uverbs::attr::kCreateQpType, static_cast<std::uint64_t>(type));
  if ((step.x & 2U) != 0) draft.number(uverbs::attr::kCreateQpSourceQpn, step.x, 4);
  draft.out(uverbs::attr::kCreateQpRespCap, uverbs::kQpCapSize)
      .out(uverbs::attr::kCreateQpRespQpn, 4);
  const auto result = call(task, step, draft);
  if (result.how == How::kGone || result.err != 0 || !arena_.alive(task)) return UINT32_MAX;
  return arena_.made_handle(task);
}

Gid Player::destination(const Task& task, const Step& step) const {
  constexpr std::uint64_t kPeers[] = {12, 13, 14, 22, 23, 11, 21};
  const std::uint32_t pick = step.x % 16U;
  (void)task;
  if (pick < 12) {
    const EndpointUid uid{kPeers[pick % std::size(kPeers)]};
    const auto gids = gids_of(Oracle::at_first(uid));
    if (pick >= 8) return gids.front();  // link-local
    const std::size_t which = 1 + (step.x >> 4U) % (gids.size() - 1);
    return gids[which];
  }
  if (pick == 12) return Oracle::physical(HostUid{1 + (step.x >> 4U) % Oracle::kHosts});
  if (pick == 13)
    return Gid::from_ip(
        parse_ip("10.0.1." + std::to_string(kPeers[(step.x >> 4U) % std::size(kPeers)])).value());
  Gid out;
  if (pick == 14) std::memcpy(out.raw.data() + 8, &step.y, sizeof(step.y));
  return out;
}

uverbs::QpDest Player::address(const Task& task, const Step& step) const {
  uverbs::QpDest out;
  out.dgid = destination(task, step);
  out.is_global = step.f < 0xf0;
  const bool link_local = out.dgid.raw[0] == 0xfe;
  constexpr std::uint8_t kIndexes[] = {2, 0, 1, 255};
  out.sgid_index = step.f < 0xc0 ? (link_local ? 0 : 1) : kIndexes[step.f % 4U];
  out.hop_limit = 64;
  out.port_num = step.f % 64U == 63 ? 2 : 1;
  out.flow_label = step.y;
  return out;
}

void Player::modify_qp(const Task& task, const Step& step) {
  uverbs::ModifyQp command;
  command.qp_handle = handle(step.b);
  const unsigned state = step.c % 9U;
  command.state = static_cast<QpState>(state == 8 ? 0 : state);
  command.port_num = 1;
  command.path_mtu = 3;
  command.dest_qpn = Qpn{17 + step.y % 4U};
  command.access_flags = step.e % 32U;
  command.qkey = (step.e & 0x80U) != 0 ? 0x80010000U : 0x11111111U;
  command.dest = address(task, step);
  constexpr std::uint32_t kOf[] = {
      qp_mask::kState,
      qp_mask::kState | qp_mask::kPkeyIndex | qp_mask::kPort | qp_mask::kAccessFlags,
      qp_mask::kState | qp_mask::kAv | qp_mask::kDestQpn | qp_mask::kPathMtu | qp_mask::kRqPsn,
      qp_mask::kState | qp_mask::kSqPsn | qp_mask::kTimeout,
      qp_mask::kState,
      qp_mask::kState,
      qp_mask::kState,
      qp_mask::kState,
      0};
  constexpr std::uint32_t kTurned[] = {0,
                                       0,
                                       qp_mask::kAv,
                                       qp_mask::kAltPath,
                                       qp_mask::kQkey,
                                       qp_mask::kAccessFlags,
                                       qp_mask::kDestQpn,
                                       qp_mask::kState,
                                       qp_mask::kPort,
                                       qp_mask::kRateLimit,
                                       qp_mask::kAv | qp_mask::kAccessFlags,
                                       1U << 31U};
  command.attr_mask = kOf[state] ^ kTurned[step.d % 12U];
  if ((step.d & 0x80U) != 0) command.alt_dest = command.dest;
  const bool ex = step.a % 4U == 3;
  std::array<std::byte, uverbs::kExModifyQpSize> core_in{};
  (void)uverbs::encode_modify_qp(command, ex ? Form::kWriteEx : Form::kWrite, core_in);
  constexpr std::size_t kStateAt = 96;  // struct ib_uverbs_modify_qp
  if (state == 7) core_in[kStateAt] = std::byte{9};
  Draft draft =
      Draft::write(ex ? extended(WriteExCommand::kModifyQp) : plain(WriteCommand::kModifyQp));
  draft.in(uverbs::attr::kCoreIn,
           std::span(core_in).first(ex ? uverbs::kExModifyQpSize : uverbs::kModifyQpSize));
  if (ex) draft.out(uverbs::attr::kCoreOut, 8);
  if (command.sets(qp_mask::kAv)) arena_.asked = command.dest.dgid;
  (void)call(task, step, draft);
}

void Player::connect(const Task& task, const Step& step) {
  Step create = step;
  create.who &= 0x6fU;  // nothing wrong with it
  create.a = 0;
  create.b = (step.b & 0x80U) != 0 ? 3 : 0;  // UD or RC
  create.x = 0;
  const std::uint32_t qp = create_qp(task, create);
  if (qp >= 6) return;
  Step modify = step;
  modify.who &= 0x6fU;
  modify.a = 0;
  modify.b = static_cast<std::uint8_t>(qp);
  modify.d = 0;
  for (std::uint8_t state : {1, 2, 3}) {
    if (!arena_.alive(task)) return;
    modify.c = state;
    // Datagrams name their peers elsewhere.
    modify.d = create.b == 3 && state == 2 ? 2 : 0;
    modify_qp(task, modify);
  }
}

void Player::address_handle(const Task& task, const Step& step) {
  if (step.a % 4U == 3) {
    Draft draft = Draft::write(plain(WriteCommand::kDestroyAh));
    const std::uint32_t which = handle(step.b);
    draft.in(uverbs::attr::kCoreIn, bytes_of(which));
    if ((step.a & 0x80U) != 0) {
      draft = Draft::ioctl(Object::kAh, 0);
      draft.handle(uverbs::attr::kDestroyAhHandle, which);
    }
    (void)call(task, step, draft);
    return;
  }
  uverbs::CreateAh command;
  command.pd_handle = 1;
  command.dest = address(task, step);
  std::array<std::byte, uverbs::kCreateAhSize> core_in{};
  (void)uverbs::encode_create_ah(command, core_in);
  Draft draft = Draft::write(plain(WriteCommand::kCreateAh));
  draft.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, uverbs::kCreateAhRespSize);
  arena_.asked = command.dest.dgid;
  (void)call(task, step, draft);
}

void Player::memory_region(const Task& task, const Step& step) {
  constexpr std::uint64_t kLengths[] = {1, 4096, 8192, 100'000, 0, UINT64_MAX, 1ULL << 50U, 4097};
  uverbs::RegMr memory;
  memory.length = kLengths[step.c % 8U];
  memory.start = 0x7f0000000000 + step.d;
  memory.iova = step.d < 0xe0 ? memory.start : step.x;
  memory.pd_handle = 1;
  memory.access_flags = step.e;
  if (step.a % 4U <= 1) {
    std::array<std::byte, uverbs::kRegMrSize> core_in{};
    (void)uverbs::encode_reg_mr(memory, core_in);
    Draft draft = Draft::write(plain(WriteCommand::kRegMr));
    draft.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 12);
    (void)call(task, step, draft);
  } else if (step.a % 4U == 2) {
    uverbs::ReregMr command;
    command.mr_handle = handle(step.b);
    command.flags = step.x % 8U;
    command.memory = memory;
    std::array<std::byte, uverbs::kReregMrSize> core_in{};
    (void)uverbs::encode_rereg_mr(command, core_in);
    Draft draft = Draft::write(plain(WriteCommand::kReregMr));
    draft.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 8);
    (void)call(task, step, draft);
  } else {
    const std::uint32_t which = handle(step.b);
    Draft draft = Draft::ioctl(Object::kMr, 1);
    draft.handle(uverbs::attr::kDestroyHandle, which);
    if ((step.a & 0x80U) != 0) {
      draft = Draft::write(plain(WriteCommand::kDeregMr));
      draft.in(uverbs::attr::kCoreIn, bytes_of(which));
    }
    (void)call(task, step, draft);
  }
}

void Player::query(const Task& task, const Step& step) {
  Draft draft = Draft::write(plain(WriteCommand::kQueryQp));
  switch (step.a % 6U) {
    case 0:
    case 1: {
      std::array<std::byte, uverbs::kQueryQpSize> core_in{};
      (void)uverbs::encode_query_qp({handle(step.b), step.x}, core_in);
      draft.in(uverbs::attr::kCoreIn, core_in)
          .out(uverbs::attr::kCoreOut, uverbs::kQueryQpRespSize);
      break;
    }
    case 2:
      draft = Draft::ioctl(Object::kDevice, uverbs::kMethodQueryGidEntry);
      draft.number(uverbs::attr::kGidEntryPort, step.b % 3U)
          .number(uverbs::attr::kGidEntryIndex, step.c % 5U)
          .number(uverbs::attr::kGidEntryFlags, step.d == 255 ? 1 : 0, 4)
          .out(uverbs::attr::kGidEntryResp, 32 + step.e % 32U);
      break;
    case 3:
      draft = Draft::ioctl(Object::kDevice, uverbs::kMethodQueryGidTable);
      draft.number(uverbs::attr::kGidTableEntrySize, step.b < 128 ? 32 : step.b % 64U)
          .out(uverbs::attr::kGidTableRespEntries, step.x % 257U)
          .out(uverbs::attr::kGidTableRespNumEntries, 8);
      break;
    case 4: {
      constexpr std::size_t kRequest = 8;
      std::array<std::byte, kRequest> core_in{};
      draft = Draft::write((step.b & 1U) != 0 ? extended(WriteExCommand::kQueryDevice)
                                              : plain(WriteCommand::kQueryDevice));
      draft.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 184 + step.c % 128U);
      break;
    }
    default:
      draft = Draft::ioctl(Object::kDevice, uverbs::kMethodQueryPort);
      draft.number(uverbs::attr::kQueryPortNum, step.b % 3U)
          .out(uverbs::attr::kQueryPortResp, 48 + step.c % 16U);
      break;
  }
  (void)call(task, step, draft);
}

void Player::destroy(const Task& task, const Step& step) {
  constexpr Object kObjects[] = {Object::kQp, Object::kCq, Object::kSrq, Object::kMr};
  constexpr std::size_t kAnswers[] = {4, 8, 4, 0};
  const unsigned which = step.a % 4U;
  Draft draft = Draft::ioctl(kObjects[which], uverbs::kMethodDestroy);
  draft.handle(uverbs::attr::kDestroyHandle, handle(step.b));
  if (kAnswers[which] != 0) draft.out(uverbs::attr::kDestroyQpResp, kAnswers[which]);
  (void)call(task, step, draft);
}

void Player::write(const Task& task, const Step& step) {
  std::array<std::byte, 64> bytes{};
  const auto response = arena_.kernel.map(task.process, 4);
  (void)uverbs::encode_doorbell({handle(step.b), (step.a & 8U) != 0 ? step.x : response}, bytes);
  std::size_t size = uverbs::kDoorbellSize;
  if (step.a % 4U == 1) bytes[step.d % bytes.size()] = static_cast<std::byte>(step.e);
  if (step.a % 4U == 2) size = step.d % bytes.size();
  if (step.a % 4U == 3) size = bytes.size();
  const auto at = arena_.kernel.map(task.process, std::span<const std::byte>(bytes).first(size));
  (void)arena_.trap(
      task, second_thread(step), SYS_write,
      {static_cast<std::uint64_t>(descriptor(step.c)), at, (step.a & 16U) != 0 ? step.y : size});
}

void Player::descriptors(const Task& task, const Step& step) {
  test::FakeKernel& kernel = arena_.kernel;
  const int from = descriptor(step.b);
  const int to = step.c < 128 ? static_cast<int>(Arena::kReserved + step.c % Arena::kReservedCount)
                              : step.c % 8;
  const bool there = kernel.file_of(task.process, from) != 0;
  switch (step.a % 6U) {
    case 0:
      if (there && from != to) kernel.dup_to(task.process, from, to);
      break;
    case 1:
    case 2:
      if (there) kernel.close_fd(task.process, from);
      break;
    case 3: {
      const Task& other = arena_.tasks[step.d % arena_.tasks.size()];
      if (!there || !arena_.alive(other) || kernel.file_of(other.process, to) != 0) break;
      kernel.pass_fd(task.process, from, other.process, to);
      break;
    }
    case 4:
      if (kernel.file_of(task.process, to) == 0) kernel.open_file(task.process, to);
      break;
    default:
      // Where it may: a device that the program opened itself.
      if (arena_.mode.tenant_opens && kernel.file_of(task.process, to) == 0)
        kernel.open_file(task.process, to, test::FakeKernel::kVerbsDevice);
      break;
  }
}

void Player::processes(const Task& task, const Step& step) {
  constexpr std::size_t kMostTasks = 8;
  switch (step.a % 4U) {
    case 0:
      if (arena_.tasks.size() < kMostTasks) {
        Task child = task;
        child.thread = 0;
        child.process = arena_.kernel.fork(task.process);
        arena_.tasks.push_back(child);
      }
      break;
    case 1:
      arena_.kernel.exit(task.process);
      break;
    default: {
      constexpr std::uint64_t kLocal[] = {11, 14, 21};
      if (arena_.tasks.size() < kMostTasks) arena_.attach(EndpointUid{kLocal[step.b % 3U]});
      break;
    }
  }
}

void Player::disturb(const Task& task, const Step& step) {
  Disturbance out;
  out.point = static_cast<Point>(step.a % 3U);
  out.countdown = 1 + step.b % 4U;
  constexpr int kErrors[] = {EFAULT, ENOMEM, EINVAL, EIO, EBUSY, ENOSPC};
  const int err = kErrors[step.d % std::size(kErrors)];
  Step inner = step;
  switch (step.c % 8U) {
    case 0:
      out.act = [err] { return err; };
      break;
    case 1:
      out.act = [this, pid = task.process] {
        arena_.kernel.exit(pid);
        return 0;
      };
      break;
    case 2:  // the whole call, or what is behind it
      out.act = [this, pid = task.process, step] {
        arena_.kernel.unmap(pid, arena_.last_header() + step.x % 1024U);
        return 0;
      };
      break;
    case 3:
      out.act = [this, pid = task.process, step] {
        const auto bytes = std::as_bytes(std::span(&step.y, 1));
        arena_.poke(pid, arena_.last_header() + step.x % 512U, bytes);
        return 0;
      };
      arena_.unsound();
      break;
    case 4:
      out.act = [this, pid = task.process, step] {
        const int fd = descriptor(step.e);
        if (arena_.alive({pid, 0, 0}) && arena_.kernel.file_of(pid, fd) != 0)
          arena_.kernel.close_fd(pid, fd);
        return 0;
      };
      break;
    case 5:
    case 6:
      inner.a = static_cast<std::uint8_t>(step.x);
      inner.b = static_cast<std::uint8_t>(step.x >> 8U);
      inner.c = static_cast<std::uint8_t>(step.x >> 16U);
      inner.d = step.d;
      out.act = [this, inner] {
        rules(inner);
        return 0;
      };
      break;
    default:
      inner.a = static_cast<std::uint8_t>(step.x);
      inner.b = static_cast<std::uint8_t>(step.x >> 8U);
      inner.c = static_cast<std::uint8_t>(step.x >> 16U);
      out.act = [this, inner] {
        endpoint(inner);
        return 0;
      };
      break;
  }
  arena_.disturb(std::move(out));
}

}  // namespace qmasq::fuzz
