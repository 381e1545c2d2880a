// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/integration/cli/with_controller.h"

// The command line against the real controller: that both mean the same by names, fields, filters,
// pages and refusals.
namespace qmasq::cli::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(WithController, AVpcFromCreationToDeletion) {
  Ran made = run({"vpc", "create", "blue", "--range", "10.0.0.0/24", "--vni", "5000", "--wait"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.err, "no host is concerned\n");
  EXPECT_EQ(json({"vpc", "get", "blue"})["vni"], 5000);
  EXPECT_EQ(run({"vpc", "update", "blue", "--mtu", "1400"}).code, 0);
  auto now = json({"vpc", "get", "blue"});
  EXPECT_EQ(now["mtu"], 1400);
  EXPECT_EQ(now["ranges"], nlohmann::json({"10.0.0.0/24"}));

  Ran stale = run({"vpc", "delete", "blue", "--etag", "stale"});
  EXPECT_EQ(stale.code, 1);
  EXPECT_THAT(stale.err, HasSubstr("etag: "));
  EXPECT_EQ(run({"vpc", "delete", "blue", "--validate-only"}).code, 0);
  EXPECT_EQ(run({"vpc", "delete", "blue", "--etag", now["etag"]}).out, "deleted vpcs/blue\n");
  EXPECT_EQ(run({"vpc", "get", "blue"}).code, 1);
}

TEST_F(WithController, RefusalsNameTheField) {
  run({"vpc", "create", "blue", "--range", "10.0.0.0/24", "--vni", "5000"});
  struct Case {
    std::vector<std::string> args;
    std::string says;
  };
  const std::vector<Case> cases = {
      {{"vpc", "create", "blue", "--range", "10.0.0.0/24"}, "vpc_id: "},
      {{"vpc", "create", "red", "--range", "10.0.0.1/24"}, "vpc.ranges[0]: "},
      {{"vpc", "create", "red", "--range", "10.0.0.0/24", "--vni", "5000"}, "vpc.vni: "},
      {{"vpc", "list", "--filter", "colour=blue"}, "filter: "},
      {{"endpoint", "create", "blue/a", "--host", "hostA"}, "endpoint.host: "},
      {{"endpoint", "list", "--vpc", "bleu"}, "Did you mean blue?"},
      {{"host", "get", "hostA"}, "hosts/hostA"},
  };
  for (const Case& one : cases) {
    Ran ran = run(one.args);
    EXPECT_EQ(ran.code, 1) << one.says;
    EXPECT_THAT(ran.err, HasSubstr(one.says));
    EXPECT_EQ(ran.out, "") << one.says;
  }
}

TEST_F(WithController, EndpointsOfAHostThatNeverCame) {
  run({"vpc", "create", "blue", "--range", "10.0.0.0/24"});
  ASSERT_EQ(run({"host", "create", "hostA"}).code, 0);
  Ran made = run({"endpoint", "create", "blue/a", "--host", "hostA", "--wait=0"});
  EXPECT_EQ(made.code, 4) << made.err;
  EXPECT_THAT(made.err, HasSubstr("hostA"));
  EXPECT_THAT(made.out, HasSubstr("blue/a  hostA  10.0.0.1"));
  run({"endpoint", "create", "blue/b", "--host", "hostA", "--address", "10.0.0.9"});

  auto pages = json({"endpoint", "list", "--page-size", "1"});
  ASSERT_EQ(pages["endpoints"].size(), 2U);
  EXPECT_EQ(pages["endpoints"][1]["addresses"][0], "10.0.0.9");
  EXPECT_EQ(
      json({"endpoint", "list", "--filter", "host=hosts/hostA AND endpoint=b"})["endpoints"].size(),
      1U);
  EXPECT_EQ(json({"host", "list", "--filter", "state=never_joined"})["hosts"].size(), 1U);
  EXPECT_EQ(run({"__complete", "ENDPOINT"}).out, "blue/a\nblue/b\n");
  EXPECT_THAT(run({"vpc", "delete", "blue"}).err, HasSubstr("vpcs/blue/endpoints/a"));
  EXPECT_EQ(run({"endpoint", "delete", "blue/a"}).code, 0);
}

TEST_F(WithController, TheSameRequestTwiceChangesNothing) {
  const std::vector<std::string> line = {"vpc",
                                         "create",
                                         "blue",
                                         "--range",
                                         "10.0.0.0/24",
                                         "--request-id",
                                         "7d3c0b2e-0000-4000-8000-000000000001"};
  auto first = json(line);
  auto second = json(line);
  EXPECT_EQ(first["uid"], second["uid"]);
  EXPECT_EQ(json({"vpc", "list"})["vpcs"].size(), 1U);
}

}  // namespace
}  // namespace qmasq::cli::testing
