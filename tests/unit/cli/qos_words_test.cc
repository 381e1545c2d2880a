// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/qos/words.h"

namespace qmasq::cli {
namespace {

using ::testing::HasSubstr;

TEST(QosWords, ShortWordsAreFieldsOfTheApi) {
  EXPECT_EQ(quota_field("qps").value(), "queue_pairs");
  EXPECT_EQ(quota_field("srqs").value(), "shared_receive_queues");
  EXPECT_EQ(quota_field("pinned").value(), "pinned_bytes");
  EXPECT_EQ(quota_field("memory_regions").value(), "memory_regions");
  EXPECT_EQ(quota_word("completion_queues"), "cqs");
  EXPECT_EQ(quota_word("of_a_later_version"), "of_a_later_version");
  EXPECT_EQ(verb_field("qps").value(), "queue_pairs");
  EXPECT_EQ(verb_field("contexts").value(), "contexts");
  EXPECT_EQ(verb_word("queue_pairs"), "qps");
  EXPECT_EQ(quota_field("contexts").error().message,
            "'contexts' is no resource with a quota: qps, cqs, mrs, srqs, pinned");
  EXPECT_EQ(verb_field("mrs").error().message,
            "'mrs' is no verb with a rate: contexts, qps, connects, verbs");
}

TEST(QosWords, DscpByNumberAndByName) {
  const std::pair<const char*, std::uint32_t> known[] = {
      {"0", 0},     {"63", 63},   {"cs0", 0},   {"cs7", 56},  {"CS3", 24}, {"ef", 46}, {"EF", 46},
      {"af11", 10}, {"af23", 22}, {"AF43", 38}, {"af31", 26}, {"le", 1},   {"va", 44}};
  for (auto [text, value] : known)
    EXPECT_EQ(parse_dscp(text).value(), value) << text;
  for (const char* text : {"", "64", "-1", "cs8", "af14", "af01", "af44", "efx", "0x2e", "4 6"})
    EXPECT_FALSE(parse_dscp(text)) << text;
  EXPECT_THAT(parse_dscp("gold").error().message, HasSubstr("'gold' is no DSCP: 0 to 63, ef"));
  EXPECT_EQ(dscp_text(46), "46 (ef)");
  EXPECT_EQ(dscp_text(0), "0 (cs0)");
  EXPECT_EQ(dscp_text(5), "5");
}

TEST(QosWords, RatesOfVerbs) {
  EXPECT_EQ(parse_verb_rate("50").value().per_second(), 50U);
  EXPECT_EQ(parse_verb_rate("50/s").value().burst(), 0U);
  const v1::QosVerbRate both = parse_verb_rate("50/s,burst=100").value();
  EXPECT_EQ(both.per_second(), 50U);
  EXPECT_EQ(both.burst(), 100U);
  EXPECT_EQ(parse_verb_rate("1000000,burst=1").value().per_second(), 1'000'000U);
  for (const char* text : {"", "0", "0/s", "-1", "1.5", "50/m", "50/s,", "50/s,burst", "50,100",
                           "50/s,burst=", "50/s,burst=0", "50/s,burst=1,burst=2", "1000001",
                           "50,burst=1000001", "99999999999999999999", " 50"}) {
    EXPECT_FALSE(parse_verb_rate(text)) << text;
  }
  EXPECT_EQ(verb_rate_text(50, 100), "50/s,burst=100");
  EXPECT_EQ(verb_rate_text(50, 50), "50/s");
  EXPECT_EQ(verb_rate_text(0, 0), "");
  // What is shown can be typed.
  EXPECT_EQ(parse_verb_rate(verb_rate_text(7, 9)).value().burst(), 9U);
}

TEST(QosWords, ObservedFiguresHaveThreeDigits) {
  EXPECT_EQ(observed_rate(0), "0 bit/s");
  EXPECT_EQ(observed_rate(999), "999 bit/s");
  EXPECT_EQ(observed_rate(999.6), "1.00 kbit/s");
  EXPECT_EQ(observed_rate(19'847'213), "19.8 Mbit/s");
  EXPECT_EQ(observed_rate(9'996'000), "10.0 Mbit/s");
  EXPECT_EQ(observed_rate(99'960'000), "100 Mbit/s");
  EXPECT_EQ(observed_rate(999'600'000), "1.00 Gbit/s");
  EXPECT_EQ(observed_rate(1e13), "10.0 Tbit/s");
  EXPECT_EQ(observed_rate(1e20), "100000 Pbit/s");
  EXPECT_EQ(observed_bytes(1'234'567'890), "1.23 GB");
  EXPECT_EQ(observed_bytes(12), "12 B");
}

TEST(QosWords, QuotasAndRatesInOneLine) {
  v1::QosQuotas quotas;
  EXPECT_EQ(quotas_text(quotas, ","), "");
  quotas.set_queue_pairs(100);
  quotas.set_pinned_bytes(1ULL << 30U);
  EXPECT_EQ(quotas_text(quotas, ","), "qps=100,pinned=1GiB");
  v1::QosVerbRates rates;
  rates.mutable_queue_pairs()->set_per_second(50);
  rates.mutable_queue_pairs()->set_burst(100);
  rates.mutable_verbs()->set_per_second(1000);
  EXPECT_EQ(verb_rates_text(rates, " "), "qps=50/s,burst=100 verbs=1000/s");
}

TEST(QosWords, APolicyOrNone) {
  EXPECT_EQ(policy_or_none("--qos", "gold").value(), "qosPolicies/gold");
  EXPECT_EQ(policy_or_none("--qos", "qosPolicies/none").value(), "qosPolicies/none");
  EXPECT_EQ(policy_or_none("--qos", "none").value(), "");
  EXPECT_THAT(policy_or_none("--qos", "a/b").error().message, HasSubstr("--qos: 'a/b'"));
}

}  // namespace
}  // namespace qmasq::cli
