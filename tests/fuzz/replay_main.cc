// SPDX-License-Identifier: Apache-2.0
// Stands in for libFuzzer where it is not to be had: runs a fuzz target once over each file of the
// folders (or files) it is given. Exit code 1 when there was nothing to run: a corpus that has gone
// missing must not look like success.
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// Which file it was, when the target ends the program.
char current[1024];

void tell(int /*signal*/) {
  for (const char* text : {"while replaying ", static_cast<const char*>(current), "\n"})
    (void)!::write(STDERR_FILENO, text, std::strlen(text));
}

bool run_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    return false;
  }
  // An exact allocation, so that AddressSanitizer sees a read past the end.
  const std::vector<std::uint8_t> bytes(text.begin(), text.end());
  std::snprintf(current, sizeof(current), "%s", path.c_str());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, tell);  // abort() goes on to end the program
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    std::error_code error;
    if (std::filesystem::is_regular_file(argv[i], error)) {
      if (!run_file(argv[i])) return 1;
      ++files;
      continue;
    }
    std::filesystem::recursive_directory_iterator entries(argv[i], error);
    if (error) {
      std::fprintf(stderr, "%s: %s\n", argv[i], error.message().c_str());
      return 1;
    }
    for (const auto& entry : entries) {
      if (!entry.is_regular_file()) continue;
      if (!run_file(entry.path())) return 1;
      ++files;
    }
  }
  std::printf("replayed %zu files\n", files);
  return files == 0 ? 1 : 0;
}
