// SPDX-License-Identifier: Apache-2.0
#include "cli/document.h"

#include <gtest/gtest.h>

#include <sstream>

#include <nlohmann/json.hpp>

#include "qmasq/v1/host.pb.h"
#include "qmasq/v1/vpc.pb.h"

namespace qmasq::cli {
namespace {

std::string text(const nlohmann::ordered_json& document, Format format) {
  std::ostringstream out;
  print_document(out, document, format);
  return out.str();
}

v1::Vpc blue() {
  v1::Vpc vpc;
  vpc.set_name("vpcs/blue");
  vpc.set_uid(7);
  vpc.set_vni(4096);
  vpc.add_ranges("10.0.0.0/24");
  vpc.set_description("no");
  return vpc;
}

TEST(Document, JsonHasEveryFieldInTheOrderOfTheProto) {
  EXPECT_EQ(text(to_document(blue()), Format::kJson),
            "{\n"
            "  \"name\": \"vpcs/blue\",\n"
            "  \"uid\": \"7\",\n"
            "  \"vni\": 4096,\n"
            "  \"ranges\": [\n"
            "    \"10.0.0.0/24\"\n"
            "  ],\n"
            "  \"mtu\": 0,\n"
            "  \"description\": \"no\",\n"
            "  \"etag\": \"\",\n"
            "  \"revision\": \"0\",\n"
            "  \"qosPolicy\": \"\",\n"
            "  \"qosPolicyUid\": \"0\",\n"
            "  \"oversubscriptions\": []\n"
            "}\n");
}

TEST(Document, YamlQuotesWhatWouldReadAsSomethingElse) {
  EXPECT_EQ(text(to_document(blue()), Format::kYaml),
            "name: vpcs/blue\n"
            "uid: \"7\"\n"
            "vni: 4096\n"
            "ranges:\n"
            "  - \"10.0.0.0/24\"\n"
            "mtu: 0\n"
            "description: \"no\"\n"
            "etag: \"\"\n"
            "revision: \"0\"\n"
            "qosPolicy: \"\"\n"
            "qosPolicyUid: \"0\"\n"
            "oversubscriptions: []\n");
}

TEST(Document, YamlOfEmptyListsAndEnums) {
  v1::HostStatus status;
  status.set_state(v1::HostStatus::ONLINE);
  auto document = to_document(status);
  EXPECT_EQ(document["state"], "ONLINE");
  nlohmann::ordered_json list;
  list["vpcs"] = nlohmann::ordered_json::array();
  EXPECT_EQ(text(list, Format::kYaml), "vpcs: []\n");
}

TEST(Document, ALineIsOneLine) {
  v1::Vpc vpc = blue();
  vpc.set_description("two\nlines\033[0m");
  std::ostringstream out;
  print_line(out, to_document(vpc));
  EXPECT_EQ(out.str().find('\n'), out.str().size() - 1);
  EXPECT_EQ(out.str().find('\033'), std::string::npos);
}

}  // namespace
}  // namespace qmasq::cli
