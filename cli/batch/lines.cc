// SPDX-License-Identifier: Apache-2.0
#include "cli/batch/lines.h"

#include <cctype>
#include <cstddef>

namespace qmasq::cli {

Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  bool in_word = false;  // an empty word ('') is one, too
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (quote == 0 && blank) {
      in_word = false;
      continue;
    }
    if (quote == 0 && !in_word && c == '#') break;
    if (!in_word) words.emplace_back();
    in_word = true;
    if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'') {
      if (i + 1 == line.size()) return fail(Code::kInvalidArgument, "nothing comes after \\");
      words.back() += line[++i];
    } else {
      words.back() += c;
    }
  }
  if (quote != 0) {
    return fail(Code::kInvalidArgument, std::string("the line ends within ") + quote);
  }
  return words;
}

}  // namespace qmasq::cli
