// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <CLI/CLI.hpp>

namespace qmasq::cli {

// Help without what people need not read: lists of excluded options and repeated choices.
class HelpFormatter final : public CLI::Formatter {
 public:
  // `usage` replaces the line that CLI11 would make.
  explicit HelpFormatter(std::string usage = {}) : usage_(std::move(usage)) {
    column_width(32);
    label("SUBCOMMAND", "COMMAND");
    label("Subcommands", "Commands");
  }
  [[nodiscard]] std::string make_usage(const CLI::App* app, std::string name) const override {
    return usage_.empty() ? CLI::Formatter::make_usage(app, std::move(name)) : usage_ + "\n";
  }
  [[nodiscard]] std::string make_option_opts(const CLI::Option* option) const override {
    std::string out;
    if (!option->get_type_name().empty()) out += " " + option->get_type_name();
    if (option->get_required() && !option->get_positional()) out += " (required)";
    return out;
  }
  [[nodiscard]] std::string make_footer(const CLI::App* app) const override {
    std::string footer = app->get_footer();
    return footer.empty() ? "" : footer + "\n";
  }

 private:
  std::string usage_;
};

}  // namespace qmasq::cli
