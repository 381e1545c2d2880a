// SPDX-License-Identifier: Apache-2.0
#include "keeper/options.h"

#include <charconv>
#include <string_view>

#include "common/version.h"

namespace qmasq::keeper {
namespace {

constexpr int kUsageError = 2;
constexpr const char* kHelp =
    R"(usage: qmasq-keeper [OPTIONS]
Holds descriptors for qmasq-vbond, so that tenants lose nothing while the agent is started again.

  --socket PATH         where the agent finds it (default: /run/qmasq/keeper.sock)
  --max-descriptors N   most that it holds, 1 to 16000 (default: 4096)
  --version
  --help
)";

CommandLine wrong(std::string text) {
  CommandLine out;
  out.text = "qmasq-keeper: " + std::move(text) + "\n";
  out.exit_code = kUsageError;
  return out;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine out;
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--help" || name == "-h") {
      out.text = kHelp;
      return out;
    }
    if (name == "--version") {
      out.text = std::string(version()) + "\n";
      return out;
    }
    // --name VALUE or --name=VALUE
    std::optional<std::string_view> value;
    if (auto equals = name.find('='); equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    } else if (i + 1 < argc) {
      value = argv[++i];
    }
    if (name != "--socket" && name != "--max-descriptors") {
      return wrong("unknown option \"" + std::string(name) + "\"; see --help");
    }
    if (!value) return wrong(std::string(name) + " needs a value");
    if (name == "--socket") {
      options.socket = *value;
      continue;
    }
    auto read = std::from_chars(value->data(), value->data() + value->size(), options.most);
    if (read.ec != std::errc() || read.ptr != value->data() + value->size() || options.most == 0 ||
        options.most > kMostDescriptors) {
      return wrong("--max-descriptors: \"" + std::string(*value) + "\" is not 1 to " +
                   std::to_string(kMostDescriptors));
    }
  }
  out.options = std::move(options);
  return out;
}

}  // namespace qmasq::keeper
