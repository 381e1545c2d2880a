// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>

#include "cli/duration.h"
#include "cli/gid_text.h"
#include "cli/names.h"
#include "cli/table.h"

namespace qmasq::cli {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Duration, TakesWhatPeopleWrite) {
  EXPECT_EQ(parse_duration("30s").value(), milliseconds(30'000));
  EXPECT_EQ(parse_duration("500ms").value(), milliseconds(500));
  EXPECT_EQ(parse_duration("1m30s").value(), milliseconds(90'000));
  EXPECT_EQ(parse_duration("2h").value(), milliseconds(7'200'000));
  EXPECT_EQ(parse_duration("10").value(), milliseconds(10'000));
  EXPECT_EQ(parse_duration("0").value(), milliseconds(0));
}

TEST(Duration, RefusesTheRest) {
  for (const char* text : {"", "s", "blue", "-1s", "1.5s", "2d", "30s ", "25h", "1m30",
                           "4294967296", "99999999999999999999s", "1msx"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Names, AnEndpointNeedsItsVpc) {
  EXPECT_EQ(parse_endpoint("blue/a").value(), (EndpointName{"blue", "a"}));
  EXPECT_EQ(parse_endpoint("vpcs/blue/endpoints/a").value(), (EndpointName{"blue", "a"}));
  auto alone = parse_endpoint("a");
  ASSERT_FALSE(alone);
  EXPECT_THAT(alone.error().message, testing::HasSubstr("blue/a"));
  EXPECT_FALSE(parse_endpoint("vpcs/blue"));
}

TEST(Names, AScopeIsAVpcOrAnEndpoint) {
  EXPECT_EQ(parse_scope("blue").value(), "vpcs/blue");
  EXPECT_EQ(parse_scope("vpcs/blue").value(), "vpcs/blue");
  EXPECT_EQ(parse_scope("blue/a").value(), "vpcs/blue/endpoints/a");
  EXPECT_FALSE(parse_scope("a/b/c"));
}

TEST(Names, ShortFormsForTables) {
  EXPECT_EQ(short_name("vpcs/blue"), "blue");
  EXPECT_EQ(short_name("vpcs/blue/endpoints/a"), "blue/a");
  EXPECT_EQ(short_name("hosts/hostA"), "hostA");
  EXPECT_EQ(short_name("qosPolicies/gold"), "gold");
  EXPECT_EQ(short_name("something/else/entirely"), "something/else/entirely");
  EXPECT_EQ(short_name(""), "");
}

TEST(NearMatches, FindsSlipsAndBeginnings) {
  std::vector<std::string> names = {"blue", "green", "red", "blue-test", "hostA"};
  EXPECT_THAT(near_matches("bleu", names), ElementsAre("blue"));
  EXPECT_THAT(near_matches("gren", names), ElementsAre("green"));
  EXPECT_THAT(near_matches("hosta", names), ElementsAre("hostA"));
  EXPECT_THAT(near_matches("blue-t", names), ElementsAre("blue", "blue-test"));
  EXPECT_THAT(near_matches("purple", names), IsEmpty());
  EXPECT_THAT(near_matches("", names), IsEmpty());
  EXPECT_THAT(near_matches(std::string(100'000, 'x'), names), IsEmpty());
}

TEST(GidText, IsAnAddressWhereItIsOne) {
  EXPECT_EQ(short_gid("0000:0000:0000:0000:0000:ffff:0a00:0001"), "10.0.0.1");
  EXPECT_EQ(short_gid("fe80:0000:0000:0000:0071:00ff:fe00:0001"), "fe80::71:ff:fe00:1");
  EXPECT_EQ(short_gid(""), "");
  EXPECT_EQ(short_gid("not a gid"), "not a gid");
}

TEST(Printable, LetsNothingMoveTheCursor) {
  EXPECT_EQ(printable("plain \xc3\xbc text"), "plain \xc3\xbc text");
  EXPECT_EQ(printable("a\033[31mb"), "a?[31mb");
  EXPECT_EQ(printable("a\nb\tc\x7f"), "a?b?c?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "?2J");                             // C1 control
  EXPECT_EQ(printable("\xff\xc0\xaf"), "???");  // never UTF-8
  EXPECT_EQ(printable("\xed\xa0\x80"), "???");  // surrogate
  EXPECT_EQ(printable("\xe2\x82"), "??");       // cut off
  EXPECT_EQ(printable("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
}

TEST(TableText, AlignsByWhatIsSeen) {
  Table table({"NAME", "VNI", "RANGES"});
  table.add({"blue", "4096", "10.0.0.0/24"});
  table.add({"gr\xc3\xbcn-long", "1", ""});
  std::ostringstream out;
  table.print(out, false);
  EXPECT_EQ(out.str(),
            "NAME       VNI   RANGES\n"
            "blue       4096  10.0.0.0/24\n"
            "gr\xc3\xbcn-long  1     -\n");
}

TEST(TableText, ColoursOnlyWhenAsked) {
  Table table({"A"});
  table.add({"1"});
  std::ostringstream out;
  table.print(out, true);
  EXPECT_EQ(out.str(), "\033[1mA\033[0m\n1\n");
}

TEST(Fields, LeaveOutWhatIsEmptyAndIndentLines) {
  std::ostringstream out;
  print_fields(out, false, {{"Name", "vpcs/blue"}, {"Empty", ""}, {"Ranges", "a\nb\033"}});
  EXPECT_EQ(out.str(),
            "Name:    vpcs/blue\n"
            "Ranges:  a\n"
            "         b?\n");
}

}  // namespace
}  // namespace qmasq::cli
