// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

// Completion scripts made from the tree of commands, so that they know what the program knows.
// Names of resources are asked of `qmasq __complete KIND` when they are needed.
namespace qmasq::cli {

// Kinds that `qmasq __complete` takes, several at once if need be; words that are none it prints as
// they are. Also the type names of options and arguments whose values are such names
// ("POLICY|none": one of them, or that word).
inline constexpr const char* kCompletedKinds[] = {"VPC", "ENDPOINT", "HOST", "POLICY", "ACCESS"};

enum class ShellKind { kBash, kZsh, kFish };

[[nodiscard]] std::string completion_script(const CLI::App& root, ShellKind shell);

// What a command offers, as scripts need it.
struct CommandWords {
  std::string path;                   // "qmasq vpc create"
  std::vector<std::string> commands;  // below it, aliases included
  std::vector<std::string> options;   // "--range", "-o", ...
  struct Value {
    std::string option;  // "--vpc"; empty: the argument of the command
    // Of kCompletedKinds, with a space between two, or "DIR", or "".
    std::string kind;
    std::vector<std::string> choices;  // words that it may be, as well
  };
  std::vector<Value> values;  // what can follow an option that takes a value
};
// Every visible command, parents before children.
[[nodiscard]] std::vector<CommandWords> command_words(const CLI::App& root);

}  // namespace qmasq::cli
