// SPDX-License-Identifier: Apache-2.0
#include "cli/document.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

namespace qmasq::cli {
namespace {

using Json = nlohmann::ordered_json;

// A plain YAML word that a reader would take for something other than text ("no", "1:30", "0x1f",
// "", "null") is quoted; so is all that is not made of harmless characters.
bool needs_quotes(const std::string& text) {
  if (text.empty()) return true;
  constexpr std::string_view kHarmless =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
  if (text.find_first_not_of(kHarmless) != std::string::npos) return true;
  if (text[0] == '-' || text[0] == '.' || (text[0] >= '0' && text[0] <= '9')) return true;
  std::string lower;
  for (char c : text)
    lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (std::string_view word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}) {
    if (lower == word) return true;
  }
  return false;
}

void emit(YAML::Emitter& out, const Json& value) {
  if (value.is_object()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      emit(out, item);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Json& item : value)
      emit(out, item);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (needs_quotes(text)) out << YAML::DoubleQuoted;
    out << text;
  } else if (value.is_boolean()) {
    out << value.get<bool>();
  } else if (value.is_null()) {
    out << YAML::Null;
  } else {
    out << value.dump();
  }
}

}  // namespace

Json to_document(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return {};
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

void print_document(std::ostream& out, const Json& document, Format format) {
  if (format == Format::kYaml) {
    YAML::Emitter emitter;
    emitter.SetIndent(2);
    emit(emitter, document);
    out << emitter.c_str() << '\n';
  } else {
    out << document.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
}

void print_line(std::ostream& out, const Json& document) {
  out << document.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace qmasq::cli
