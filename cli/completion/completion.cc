// SPDX-License-Identifier: Apache-2.0
#include "cli/completion/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <CLI/CLI.hpp>

#include "cli/table.h"

namespace qmasq::cli {
namespace {

bool is_kind(const std::string& name) {
  return std::find(std::begin(kCompletedKinds), std::end(kCompletedKinds), name) !=
         std::end(kCompletedKinds);
}

// "table|json|yaml" are three choices, "POLICY|none" a kind and one, "RATE|none" one;
// "USER[:GROUP]" and "CIDR" are none.
CommandWords::Value value_of(const std::string& type) {
  CommandWords::Value value;
  if (type == "DIR") value.kind = type;
  for (std::size_t begin = 0; begin <= type.size();) {
    const std::size_t end = std::min(type.find('|', begin), type.size());
    const std::string part = type.substr(begin, end - begin);
    if (is_kind(part)) {
      value.kind += (value.kind.empty() ? "" : " ") + part;
    } else if (part.size() < type.size() &&
               part.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ[=") == std::string::npos) {
      value.choices.push_back(part);
    }
    begin = end + 1;
  }
  return value;
}

void collect_options(const CLI::App& app, CommandWords& words) {
  for (const CLI::Option* option : app.get_options()) {
    std::string type = option->get_type_name();
    CommandWords::Value value = value_of(type);
    if (option->get_positional()) {
      if (!value.kind.empty()) words.values.push_back(value);
      continue;
    }
    std::vector<std::string> names;
    for (const std::string& name : option->get_snames())
      names.push_back("-" + name);
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
    for (const std::string& name : names) {
      words.options.push_back(name);
      // Flags have no type. --wait may stand alone, so what follows it is as if it were not there.
      // After any other option comes its value and no word of the command.
      if (type.empty() || type.front() == '[') continue;
      value.option = name;
      words.values.push_back(value);
    }
  }
}

void collect(const CLI::App& app, const std::string& path, std::vector<CommandWords>& out) {
  std::size_t here = out.size();
  out.push_back({path, {}, {}, {}});
  collect_options(app, out[here]);
  auto visible = app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  for (const CLI::App* sub : visible) {
    out[here].commands.push_back(sub->get_name());
    for (const std::string& alias : sub->get_aliases())
      out[here].commands.push_back(alias);
  }
  for (const CLI::App* sub : visible) {
    collect(*sub, fmt::format("{} {}", path, sub->get_name()), out);
    for (const std::string& alias : sub->get_aliases())
      collect(*sub, fmt::format("{} {}", path, alias), out);
  }
}

// The command in bash and zsh that fills the candidates from words, names or files.
struct Dialect {
  const char* words;  // {}: the words
  const char* names;  // {}: the kind
  const char* folders;
  const char* nothing;
};

constexpr Dialect kBash = {R"sh(_qmasq_words "{}")sh", R"sh(_qmasq_names {})sh",
                           R"sh(COMPREPLY=($(compgen -d -- "$cur")))sh", ":"};
constexpr Dialect kZsh = {R"sh(compadd -- {})sh", R"sh(_qmasq_names {})sh", "_files -/", ":"};

// What `qmasq __complete` is asked for.
std::string asked_of(const CommandWords::Value& value) {
  return value.choices.empty() ? value.kind : value.kind + " " + join(value.choices, " ");
}

std::string value_action(const CommandWords::Value& value, const Dialect& dialect) {
  if (value.kind == "DIR") return dialect.folders;
  if (!value.kind.empty()) return fmt::format(fmt::runtime(dialect.names), asked_of(value));
  if (!value.choices.empty()) {
    return fmt::format(fmt::runtime(dialect.words), join(value.choices, " "));
  }
  return dialect.nothing;
}

std::string paths_case(const std::vector<CommandWords>& all) {
  std::vector<std::string> quoted;
  for (const CommandWords& words : all) {
    if (words.path != "qmasq") quoted.push_back("\"" + words.path + "\"");
  }
  return join(quoted, " | ");
}

// Options that a value follows.
std::string takes_case(const std::vector<CommandWords>& all) {
  std::vector<std::string> quoted;
  for (const CommandWords& words : all) {
    for (const CommandWords::Value& value : words.values) {
      if (!value.option.empty()) quoted.push_back("\"" + words.path + " " + value.option + "\"");
    }
  }
  return join(quoted, " | ");
}

std::string value_cases(const std::vector<CommandWords>& all, const Dialect& dialect) {
  std::string out;
  for (const CommandWords& words : all) {
    for (const CommandWords::Value& value : words.values) {
      if (value.option.empty()) continue;
      out += fmt::format("    \"{} {}\") {}; return ;;\n", words.path, value.option,
                         value_action(value, dialect));
    }
  }
  return out;
}

std::string word_cases(const std::vector<CommandWords>& all, const Dialect& dialect) {
  std::string out;
  for (const CommandWords& words : all) {
    auto list = [&](const std::vector<std::string>& items) {
      return fmt::format(fmt::runtime(dialect.words), join(items, " "));
    };
    out += fmt::format("    \"{}\")\n      if [[ $cur == -* ]]; then {}\n", words.path,
                       list(words.options));
    std::vector<std::string> arguments;
    for (const CommandWords::Value& value : words.values) {
      if (value.option.empty()) arguments.push_back(value_action(value, dialect));
    }
    if (!words.commands.empty()) {
      out += "      else " + list(words.commands) + "\n";
    } else if (arguments.size() == 1) {
      out += "      else " + arguments[0] + "\n";
    } else {
      for (std::size_t i = 0; i < arguments.size(); ++i)
        out += fmt::format("      elif ((count == {})); then {}\n", i, arguments[i]);
    }
    out += "      fi ;;\n";
  }
  return out;
}

// `script` with @PATHS@, @TAKES@, @VALUES@ and @WORDS@ filled in.
std::string fill(std::string script, const std::vector<CommandWords>& all, const Dialect& dialect) {
  auto replace = [&script](std::string_view mark, const std::string& text) {
    script.replace(script.find(mark), mark.size(), text);
  };
  replace("@PATHS@", paths_case(all));
  replace("@TAKES@", takes_case(all));
  replace("@VALUES@", value_cases(all, dialect));
  replace("@WORDS@", word_cases(all, dialect));
  return script;
}

constexpr const char* kBashScript =
    R"sh(# bash completion of qmasq; made by "qmasq completion bash"
_qmasq_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }
_qmasq_names() { COMPREPLY=($(compgen -W "$(qmasq __complete "$@" 2>/dev/null)" -- "$cur")); }
_qmasq() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path=qmasq i count=0
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      # The program of "qmasq run", then its arguments.
      if ((i == COMP_CWORD - 1)); then COMPREPLY=($(compgen -c -- "$cur"))
      else compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); fi
      return
    fi
    # What follows an option that takes a value is no word of the command.
    case "$path ${COMP_WORDS[i-1]}" in
    @TAKES@) continue ;;
    esac
    case "$path ${COMP_WORDS[i]}" in
    @PATHS@) path="$path ${COMP_WORDS[i]}" ;;
    *" -"*) ;;
    *) ((++count)) ;;
    esac
  done
  case "$path $prev" in
@VALUES@  esac
  case "$path" in
@WORDS@  esac
}
complete -F _qmasq qmasq
)sh";

constexpr const char* kZshScript =
    R"sh(#compdef qmasq
# zsh completion of qmasq; made by "qmasq completion zsh"
_qmasq_names() {
  local -a names
  names=(${(f)"$(qmasq __complete $@ 2>/dev/null)"})
  compadd -a names
}
_qmasq() {
  local cur="${words[CURRENT]}" prev="${words[CURRENT-1]}" at=qmasq i count=0
  for ((i = 2; i < CURRENT; i++)); do
    if [[ ${words[i]} == -- ]]; then
      if ((i == CURRENT - 1)); then _command_names -e; else _files; fi
      return
    fi
    case "$at ${words[i-1]}" in
    @TAKES@) continue ;;
    esac
    case "$at ${words[i]}" in
    @PATHS@) at="$at ${words[i]}" ;;
    *" -"*) ;;
    *) ((++count)) ;;
    esac
  done
  case "$at $prev" in
@VALUES@  esac
  case "$at" in
@WORDS@  esac
}
if [[ $funcstack[1] == _qmasq ]]; then _qmasq "$@"; else compdef _qmasq qmasq; fi
)sh";

constexpr const char* kFishHead =
    R"sh(# fish completion of qmasq; made by "qmasq completion fish"
function __qmasq_path
  set -l path qmasq
  for word in (commandline -opc)[2..-1]
    test "$word" = --; and echo program; and return
    switch "$path $word"
      case @PATHS@
        set path "$path $word"
    end
  end
  echo $path
end
complete -c qmasq -f
complete -c qmasq -n 'test (__qmasq_path) = program' -F -a '(__fish_complete_command)'
)sh";

std::string fish_value(const CommandWords::Value& value) {
  if (value.kind == "DIR") return "-x -a '(__fish_complete_directories)'";
  if (!value.kind.empty()) {
    return fmt::format("-x -a '(qmasq __complete {} 2>/dev/null)'", asked_of(value));
  }
  if (!value.choices.empty()) return fmt::format("-x -a '{}'", join(value.choices, " "));
  return "-x";
}

std::string fish_option(const std::string& name) {
  return name[1] == '-' ? "-l " + name.substr(2) : "-s " + name.substr(1);
}

std::string fish(const std::vector<CommandWords>& all) {
  std::string out = kFishHead;
  std::vector<std::string> paths;
  for (const CommandWords& words : all) {
    if (words.path != "qmasq") paths.push_back("'" + words.path + "'");
  }
  constexpr std::string_view kMark = "@PATHS@";
  out.replace(out.find(kMark), kMark.size(), join(paths, " "));
  for (const CommandWords& words : all) {
    std::string when =
        fmt::format("complete -c qmasq -n 'test (__qmasq_path) = \"{}\"'", words.path);
    if (!words.commands.empty()) {
      out += fmt::format("{} -a '{}'\n", when, join(words.commands, " "));
    }
    for (const std::string& option : words.options) {
      auto value = std::find_if(words.values.begin(), words.values.end(),
                                [&](const auto& one) { return one.option == option; });
      out += fmt::format("{} {}{}\n", when, fish_option(option),
                         value == words.values.end() ? "" : " " + fish_value(*value));
    }
    for (const CommandWords::Value& value : words.values) {
      if (value.option.empty()) {
        out += fmt::format("{} -a '(qmasq __complete {} 2>/dev/null)'\n", when, asked_of(value));
      }
    }
  }
  return out;
}

}  // namespace

std::vector<CommandWords> command_words(const CLI::App& root) {
  std::vector<CommandWords> out;
  collect(root, root.get_name(), out);
  return out;
}

std::string completion_script(const CLI::App& root, ShellKind shell) {
  auto all = command_words(root);
  switch (shell) {
    case ShellKind::kBash:
      return fill(kBashScript, all, kBash);
    case ShellKind::kZsh:
      return fill(kZshScript, all, kZsh);
    case ShellKind::kFish:
      return fish(all);
  }
  return "";
}

}  // namespace qmasq::cli
