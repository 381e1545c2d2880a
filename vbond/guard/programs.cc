// SPDX-License-Identifier: Apache-2.0
#include "vbond/guard/programs.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "vbond/guard/abi.h"
#include "vbond/guard/guard.skel.h"

namespace qmasq::vbond {
namespace {

constexpr const char* kModule = "ib_uverbs";
constexpr std::string_view kWritePrefix = "qmasq_write_";
// Of newer kernels; where it is not, such calls take the same way as all others.
constexpr std::string_view kCompat = "qmasq_refuse_compat";
constexpr std::string_view kMaps[] = {"qmasq_state", "qmasq_slots", "qmasq_files", "qmasq_devices",
                                      "qmasq_events"};

// What libbpf complained of first; it tells more than its error numbers, and than what follows.
std::mutex words_mutex;
std::string first_words;

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  char text[512];
  const int length = std::vsnprintf(text, sizeof text, format, arguments);
  if (length <= 0) return 0;
  std::string_view line(text);
  while (!line.empty() && line.back() == '\n')
    line.remove_suffix(1);
  if (level == LIBBPF_WARN) {
    std::lock_guard lock(words_mutex);
    if (first_words.empty()) first_words = std::string(line.substr(0, line.find('\n')));
  }
  spdlog::debug("libbpf: {}", line);
  return length;
}

std::string words() {
  std::lock_guard lock(words_mutex);
  return first_words.empty() ? "" : " (" + first_words + ")";
}

// So that two builds of the same source are one version, and a changed program is another.
std::uint64_t fingerprint() {
  std::size_t size = 0;
  const void* bytes = qmasq_guard__elf_bytes(&size);
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (char each : std::string_view(static_cast<const char*>(bytes), size))
    hash = (hash ^ static_cast<unsigned char>(each)) * 0x100000001b3U;
  return hash;
}

std::string link_pin(const std::string& pins, std::string_view program) {
  return fmt::format("{}/{}-{:016x}", pins, program, fingerprint());
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// Both ways to say it: by its own BTF, or as part of the kernel.
Status load_module() {
  const std::string btf = std::string("/sys/kernel/btf/") + kModule;
  if (exists(btf)) return {};
  if (!exists(std::string("/sys/module/") + kModule)) {
    std::string program = "modprobe";
    std::string name = kModule;
    char* const argv[] = {program.data(), name.data(), nullptr};
    pid_t pid = 0;
    if (::posix_spawnp(&pid, "modprobe", nullptr, nullptr, argv, environ) == 0) {
      (void)::waitpid(pid, nullptr, 0);
    }
    if (!exists(std::string("/sys/module/") + kModule)) {
      return fail(
          Code::kUnsupported,
          fmt::format("the kernel has no module {} loaded, and it could not be loaded", kModule));
    }
  }
  if (exists(btf)) return {};
  return fail(
      Code::kUnsupported,
      fmt::format("{} has no BTF: the kernel must be built with DEBUG_INFO_BTF_MODULES", kModule));
}

Status prepare_pins(const std::string& pins) {
  const std::string root = std::filesystem::path(pins).parent_path();
  struct statfs about {};
  if (::statfs(root.c_str(), &about) != 0) {
    return fail_errno(errno, fmt::format("{}: no place for a BPF file system", root));
  }
  if (about.f_type != BPF_FS_MAGIC) {
    if (::mount("bpf", root.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
                "mode=700") != 0) {
      return fail_errno(errno, fmt::format("mount a BPF file system on {}", root));
    }
  }
  if (::mkdir(pins.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(errno, fmt::format("create {}", pins));
  }
  return {};
}

// Who has it is the agent of this host, whatever its sockets are: two would take the guard from
// each other. It ends with the process.
Result<UniqueFd> lock_pins(const std::string& pins) {
  UniqueFd directory(::open(pins.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail_errno(errno, fmt::format("open {}", pins));
  if (::flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return directory;
  if (errno != EWOULDBLOCK) return fail_errno(errno, fmt::format("lock {}", pins));
  return fail(Code::kAlreadyExists,
              fmt::format("another agent of this host has the guard in {}: stop it first", pins));
}

void remove_pins(const std::string& pins, const std::vector<std::string>& but) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(pins, error)) {
    const std::string path = entry.path();
    if (std::find(but.begin(), but.end(), path) == but.end()) (void)::unlink(path.c_str());
  }
}

// What is pinned; nothing: there is none.
std::optional<qmasq_guard_state> pinned_state(const std::string& pins) {
  UniqueFd map(bpf_obj_get((pins + "/qmasq_state").c_str()));
  if (!map.valid()) return std::nullopt;
  qmasq_guard_state out{};
  out.layout = ~0U;
  bpf_map_info info{};
  unsigned size = sizeof info;
  if (bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0) return out;
  std::vector<std::byte> value(std::max<std::size_t>(info.value_size, sizeof out));
  const unsigned zero = 0;
  if (bpf_map_lookup_elem(map.get(), &zero, value.data()) != 0) return out;
  std::memcpy(&out, value.data(), sizeof out);
  return out;
}

Status write_state(const GuardPrograms& programs, const qmasq_guard_state& state) {
  const unsigned zero = 0;
  if (bpf_map_update_elem(programs.state.get(), &zero, &state, BPF_ANY) != 0)
    return fail_errno(errno, "write the guard's state");
  return {};
}

struct DestroySkeleton {
  void operator()(qmasq_guard* skeleton) const { qmasq_guard__destroy(skeleton); }
};
struct FreeBtf {
  void operator()(btf* types) const { btf__free(types); }
};

// Which of the programs this kernel can have. A kernel that lacks what the guard stands on is an
// error; a write command that it does not know is none.
Status choose_programs(qmasq_guard& skeleton, bool writes) {
  std::unique_ptr<btf, FreeBtf> kernel(btf__load_vmlinux_btf());
  if (!kernel) return fail_errno(errno, "read the kernel's BTF");
  std::unique_ptr<btf, FreeBtf> module(btf__load_module_btf(kModule, kernel.get()));
  std::unique_ptr<btf, FreeBtf> core(btf__load_module_btf("ib_core", kernel.get()));
  auto known = [&](const char* function) {
    for (const btf* types : {module.get(), core.get(), kernel.get()}) {
      if (types != nullptr && btf__find_by_name_kind(types, function, BTF_KIND_FUNC) > 0)
        return true;
    }
    return false;
  };
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton.obj) {
    const std::string_view section = bpf_program__section_name(program);
    const std::string function(section.substr(section.find('/') + 1));
    const std::string_view name = bpf_program__name(program);
    const bool is_write = name.starts_with(kWritePrefix);
    if ((is_write && !writes) || ((is_write || name == kCompat) && !known(function.c_str()))) {
      bpf_program__set_autoload(program, false);
    } else if (!known(function.c_str())) {
      return fail(Code::kUnsupported,
                  fmt::format("the kernel has no function {} in its BTF", function));
    }
  }
  return {};
}

// Opens what is pinned: the maps, and this version's links. False: not all is there.
bool take_over(const std::string& pins, GuardPrograms& out) {
  const std::string ours = link_pin(pins, "").substr(pins.size() + 1);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(pins, error)) {
    const std::string path = entry.path();
    if (!path.ends_with(ours)) continue;
    UniqueFd link(bpf_obj_get(path.c_str()));
    if (!link.valid()) return false;
    out.links.push_back(std::move(link));
  }
  for (auto [name, to] : {std::pair{"/qmasq_state", &out.state},
                          {"/qmasq_slots", &out.slots},
                          {"/qmasq_devices", &out.devices},
                          {"/qmasq_events", &out.events}}) {
    *to = UniqueFd(bpf_obj_get((pins + name).c_str()));
    if (!to->valid()) return false;
  }
  return true;
}

// Loads, attaches and pins what is not there yet; then takes away what is of other versions: ours
// sees everything by then.
Status attach_all(const std::string& pins, bool writes) {
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.pin_root_path = pins.c_str();
  std::unique_ptr<qmasq_guard, DestroySkeleton> skeleton(qmasq_guard__open_opts(&options));
  if (!skeleton) return fail_errno(errno, "open the guard's BPF object" + words());
  QMASQ_TRY(choose_programs(*skeleton, writes));
  if (const int err = qmasq_guard__load(skeleton.get()); err != 0) {
    return fail(Code::kUnsupported,
                fmt::format("the kernel does not take the guard's programs: {}{}",
                            std::generic_category().message(-err), words()));
  }
  std::vector<std::string> kept;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    const std::string pin = link_pin(pins, bpf_program__name(program));
    kept.push_back(pin);
    if (!bpf_program__autoload(program) || exists(pin)) continue;
    bpf_link* link = bpf_program__attach(program);
    if (link == nullptr) {
      return fail(Code::kUnsupported, fmt::format("the kernel does not attach {}: {}{}",
                                                  bpf_program__section_name(program),
                                                  std::generic_category().message(errno), words()));
    }
    const int err = bpf_link__pin(link, pin.c_str());
    bpf_link__destroy(link);  // the pin keeps it
    if (err != 0) return fail_errno(-err, fmt::format("pin {}", pin));
  }
  for (std::string_view map : kMaps)
    kept.push_back(fmt::format("{}/{}", pins, map));
  remove_pins(pins, kept);
  return {};
}

}  // namespace

Status detach_guard(const std::string& pins) {
  if (!exists(pins)) return {};
  QMASQ_ASSIGN(const UniqueFd lock, lock_pins(pins));
  remove_pins(pins, {});
  if (::rmdir(pins.c_str()) == 0) {
    spdlog::warn("guard: {} taken away: what programs have open is guarded no more", pins);
  } else {
    spdlog::error("guard: {} cannot be removed: {}", pins, std::generic_category().message(errno));
  }
  return {};
}

Result<GuardPrograms> attach_guard(const std::string& pins, bool writes) {
  libbpf_set_print(keep_words);
  if (!exists("/sys/kernel/btf/vmlinux")) {
    return fail(Code::kUnsupported, "the kernel has no BTF: it must be built with DEBUG_INFO_BTF");
  }
  QMASQ_TRY(load_module());
  QMASQ_TRY(prepare_pins(pins));
  QMASQ_ASSIGN(UniqueFd lock, lock_pins(pins));
  auto pinned = pinned_state(pins);
  // 0: an agent died before it wrote it.
  if (pinned && pinned->layout != 0 && pinned->layout != QMASQ_GUARD_LAYOUT) {
    spdlog::warn("guard: {} has maps of another layout; contexts opened before are cut off", pins);
    remove_pins(pins, {});
    pinned.reset();
  }
  GuardPrograms out;
  if (pinned && pinned->programs == fingerprint() && (!writes || pinned->writes != 0) &&
      take_over(pins, out) && out.links.size() == pinned->links) {
    out.taken_over = true;
    out.lock = std::move(lock);
    return out;
  }
  out = GuardPrograms{};
  QMASQ_TRY(attach_all(pins, writes));
  if (!take_over(pins, out)) return fail_errno(errno, fmt::format("open the pins in {}", pins));
  qmasq_guard_state state = pinned_state(pins).value_or(qmasq_guard_state{});
  state.layout = QMASQ_GUARD_LAYOUT;
  state.programs = fingerprint();
  state.links = static_cast<unsigned>(out.links.size());
  state.writes = writes ? 1 : 0;
  QMASQ_TRY(write_state(out, state));
  out.lock = std::move(lock);
  return out;
}

}  // namespace qmasq::vbond
