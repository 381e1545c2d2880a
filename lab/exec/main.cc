// SPDX-License-Identifier: Apache-2.0
// qmasq-lab-exec: runs commands inside lab hosts. One program, two sides:
//   qmasq-lab-exec serve --token-file FILE [--address A] [--port N]     inside the host
//   qmasq-lab-exec run --labs DIR [--name LAB] HOST [-i] [-t] [--cwd DIR] [--env N=V] -- CMD ...
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "lab/exec/client.h"
#include "lab/exec/server.h"

namespace qmasq::lab {
namespace {

constexpr int kOwnFailure = 255;  // as ssh has it: not a code of the command
constexpr std::string_view kUsage =
    "usage: ./x lab exec [--name LAB] HOST [-i] [-t] [--cwd DIR] [--env NAME=VALUE] -- CMD "
    "ARGS...\n"
    "  -i  pass standard input    -t  run on a terminal (with -i)\n";

Result<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return fail(Code::kNotFound, "cannot read " + path);
  return line;
}

struct Arguments {
  std::span<char*> rest;
  [[nodiscard]] Result<std::string> value(std::string_view option) {
    if (rest.empty()) {
      return fail(Code::kInvalidArgument, std::string(option) + " needs a value");
    }
    std::string text = rest.front();
    rest = rest.subspan(1);
    return text;
  }
};

Result<std::uint16_t> port_of(const std::string& text) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value > 65535) {
    return fail(Code::kInvalidArgument, "not a port: " + text);
  }
  return static_cast<std::uint16_t>(value);
}

Result<int> serve_command(Arguments arguments) {
  ServerOptions options;
  while (!arguments.rest.empty()) {
    QMASQ_ASSIGN(const std::string option, arguments.value(""));
    QMASQ_ASSIGN(const std::string value, arguments.value(option));
    if (option == "--token-file") {
      QMASQ_ASSIGN(options.token, first_line(value));
    } else if (option == "--address") {
      options.address = value;
    } else if (option == "--port") {
      QMASQ_ASSIGN(options.port, port_of(value));
    } else {
      return fail(Code::kInvalidArgument, "unknown option " + option);
    }
  }
  if (options.token.empty()) return fail(Code::kInvalidArgument, "--token-file is missing");
  QMASQ_TRY(serve(options));
  return 0;
}

Result<int> run_command(Arguments arguments) {
  ClientOptions options;
  std::string labs;
  std::string name = "default";
  std::string host;
  bool separated = false;
  while (!arguments.rest.empty() && !separated) {
    QMASQ_ASSIGN(const std::string word, arguments.value(""));
    if (word == "--") {
      separated = true;
    } else if (word == "--labs") {
      QMASQ_ASSIGN(labs, arguments.value(word));
    } else if (word == "--name") {
      QMASQ_ASSIGN(name, arguments.value(word));
    } else if (word == "--cwd") {
      QMASQ_ASSIGN(options.request.directory, arguments.value(word));
    } else if (word == "--env") {
      QMASQ_ASSIGN(std::string variable, arguments.value(word));
      options.request.environment.push_back(std::move(variable));
    } else if (word == "--wait") {
      QMASQ_ASSIGN(const std::string seconds, arguments.value(word));
      options.wait = std::chrono::seconds(std::strtol(seconds.c_str(), nullptr, 10));
    } else if (word == "-i") {
      options.forward_stdin = true;
    } else if (word == "-t" || word == "-it") {
      options.request.terminal = true;
      options.forward_stdin = true;
    } else if (host.empty() && !word.starts_with('-')) {
      host = word;
    } else {
      return fail(Code::kInvalidArgument, "unexpected argument " + word);
    }
  }
  if (host.empty()) return fail(Code::kInvalidArgument, "no host named");
  if (arguments.rest.empty()) {
    return fail(Code::kInvalidArgument, "no command: put it after --");
  }
  for (const char* argument : arguments.rest)
    options.request.arguments.emplace_back(argument);
  if (const char* term = std::getenv("TERM"); options.request.terminal && term != nullptr) {
    options.request.environment.push_back(std::string("TERM=") + term);
  }
  const std::string directory = labs + "/" + name + "/" + host;
  if (::access((directory + "/exec.port").c_str(), R_OK) != 0) {
    return fail(Code::kNotFound, "lab '" + name + "' has no running host '" + host +
                                     "': see ./x lab status, ./x lab up");
  }
  QMASQ_ASSIGN(const std::string port, first_line(directory + "/exec.port"));
  QMASQ_ASSIGN(options.port, port_of(port));
  QMASQ_ASSIGN(options.request.token, first_line(directory + "/exec.token"));
  auto code = run_on_host(std::move(options));
  if (!code) return with_context(std::move(code).error(), host);
  return code;
}

int run(std::span<char*> words) {
  const std::string_view verb = words.empty() ? "" : words.front();
  if (verb != "serve" && verb != "run") {
    std::cerr << kUsage;
    return kOwnFailure;
  }
  const Arguments arguments{words.subspan(1)};
  const auto code = verb == "serve" ? serve_command(arguments) : run_command(arguments);
  if (code) return *code;
  std::cerr << "qmasq-lab-exec: " << code.error().message << "\n";
  if (code.error().code == Code::kInvalidArgument) std::cerr << kUsage;
  return kOwnFailure;
}

}  // namespace
}  // namespace qmasq::lab

int main(int argc, char** argv) {
  return qmasq::lab::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
