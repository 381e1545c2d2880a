// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace google::protobuf {
class Message;
}

// -o json and -o yaml: the JSON form that protobuf defines for our messages (64-bit numbers are
// strings, enums are names, fields in the order of the .proto). Numbers, texts and lists are
// always there, also when they are zero or empty, so that a script need not ask whether; a message
// that is not set (a time, a status) is left out.
namespace qmasq::cli {

enum class Format { kTable, kJson, kYaml };

// Null on a message that has no JSON form (cannot happen with ours).
[[nodiscard]] nlohmann::ordered_json to_document(const google::protobuf::Message& message);

// Ends with a line break. REQUIRES: format is kJson or kYaml.
void print_document(std::ostream& out, const nlohmann::ordered_json& document, Format format);
// As one line, for streams.
void print_line(std::ostream& out, const nlohmann::ordered_json& document);

}  // namespace qmasq::cli
