// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Text for people. Everything that goes to a terminal passes through `printable`: names of tenants'
// processes and reasons are not ours, and must not move the cursor.
namespace qmasq::cli {

// `text` with control characters and bytes that are not UTF-8 replaced by '?'.
[[nodiscard]] std::string printable(std::string_view text);

// Columns that a text takes: code points, which is right for all but wide and combining ones.
[[nodiscard]] std::size_t display_width(std::string_view text);

// Left-aligned columns, two spaces apart, no spaces at line ends. An empty cell prints as "-".
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  // REQUIRES: as many cells as headers.
  void add(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  void print(std::ostream& out, bool colour) const;

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

// One thing: "Label:  value" lines with the values aligned. A value with line breaks goes on below
// itself. Empty values are left out.
void print_fields(std::ostream& out, bool colour,
                  const std::vector<std::pair<std::string, std::string>>& fields);

// "a, b, c"
[[nodiscard]] std::string join(const std::vector<std::string>& items,
                               std::string_view separator = ", ");

}  // namespace qmasq::cli
