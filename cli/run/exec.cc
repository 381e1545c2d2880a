// SPDX-License-Identifier: Apache-2.0
#include "cli/run/exec.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>
#include <system_error>

namespace qmasq::cli {
namespace {

enum class Candidate { kNone, kNotExecutable, kGood };

Candidate look_at(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return errno == EACCES ? Candidate::kNotExecutable : Candidate::kNone;
  }
  bool good = S_ISREG(info.st_mode) && ::access(path.c_str(), X_OK) == 0;
  return good ? Candidate::kGood : Candidate::kNotExecutable;
}

}  // namespace

Outcome<std::string> find_program(const std::string& name, const std::string& path) {
  auto not_executable = [](const std::string& found) {
    return failed(kExitRunNotExecutable, fmt::format("{} cannot be executed", found),
                  "Is it a program, and is the x permission set?");
  };
  if (name.find('/') != std::string::npos) {
    switch (look_at(name)) {
      case Candidate::kGood:
        return name;
      case Candidate::kNotExecutable:
        return not_executable(name);
      case Candidate::kNone:
        return failed(kExitRunNotFound, fmt::format("there is no program {}", name));
    }
  }
  std::string refused;
  std::string_view rest = path;
  while (!name.empty()) {
    std::size_t end = rest.find(':');
    std::string folder(rest.substr(0, end));
    std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    Candidate kind = look_at(candidate);
    if (kind == Candidate::kGood) return candidate;
    if (kind == Candidate::kNotExecutable && refused.empty()) refused = candidate;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  if (!refused.empty()) return not_executable(refused);
  return failed(kExitRunNotFound, fmt::format("there is no program '{}' in PATH", name));
}

Failure execute(const std::string& program, const std::vector<std::string>& words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  // execvp rather than execv: it hands a script without "#!" to the shell. `program` has a slash,
  // so nothing is searched.
  ::execvp(program.c_str(), argv.data());
  int err = errno;
  return {err == ENOENT ? kExitRunNotFound : kExitRunNotExecutable,
          fmt::format("cannot execute {}: {}", program, std::generic_category().message(err)),
          err == ENOENT ? "Its interpreter or loader may be missing." : "", false};
}

}  // namespace qmasq::cli
