// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "trust/authority.h"
#include "trust/certificate_request.h"
#include "trust/join_token.h"

namespace qmasq::trust {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;
using ::testing::Not;

WallTime now() {
  static const WallTime time = std::chrono::system_clock::from_time_t(1'800'000'000);
  return time;
}

Authority make_authority() {
  auto made = Authority::create("test", now(), hours(24 * 365));
  EXPECT_TRUE(made) << made.error().message;
  return std::move(*made);
}

IssueOptions of_host(const std::string& id) {
  IssueOptions options;
  options.identity = {Identity::Kind::kHost, id};
  options.now = now();
  options.validity = hours(24);
  return options;
}

IssuedCertificate issue(const Authority& authority, const IssueOptions& options) {
  auto key = PrivateKey::generate();
  EXPECT_TRUE(key);
  auto issued = authority.issue(public_half(*key), options);
  EXPECT_TRUE(issued) << issued.error().message;
  return *issued;
}

TEST(Certificate, SaysWhoItIs) {
  auto authority = make_authority();
  auto issued = issue(authority, of_host("hostA"));
  auto info = verify_certificate(issued.pem, authority.certificate(), Purpose::kClient, now());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(name_of(info->identity), "hosts/hostA");
  EXPECT_EQ(info->serial, issued.info.serial);
  EXPECT_LE(info->serial.size(), 32U);
  EXPECT_EQ(info->fingerprint.size(), 64U);
  EXPECT_EQ(info->not_after, now() + hours(24));
}

TEST(Certificate, SerialsDoNotRepeat) {
  auto authority = make_authority();
  std::set<std::string> serials;
  for (int i = 0; i < 20; ++i)
    serials.insert(issue(authority, of_host("hostA")).info.serial);
  EXPECT_EQ(serials.size(), 20U);
}

TEST(Certificate, OfAnotherCaIsRefused) {
  auto ours = make_authority();
  auto theirs = make_authority();
  auto issued = issue(theirs, of_host("hostA"));
  auto info = verify_certificate(issued.pem, ours.certificate(), Purpose::kClient, now());
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, Code::kUnauthenticated);
  EXPECT_THAT(info.error().message, HasSubstr("not signed by this installation's CA"));
  // Nor one that pretends: the same names, another key.
  info = verify_certificate(theirs.certificate(), ours.certificate(), Purpose::kClient, now());
  EXPECT_FALSE(info);
}

TEST(Certificate, HasItsTime) {
  auto authority = make_authority();
  auto issued = issue(authority, of_host("hostA"));
  auto verify = [&](WallTime time) {
    return verify_certificate(issued.pem, authority.certificate(), Purpose::kClient, time);
  };
  EXPECT_TRUE(verify(now() - std::chrono::minutes(4)));
  EXPECT_TRUE(verify(now() + hours(23)));
  auto late = verify(now() + hours(25));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("expired on 2027-01-16 08:00:00 UTC"));
  auto early = verify(now() - hours(1));
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message, HasSubstr("not valid before"));
}

TEST(Certificate, ServesOnePurpose) {
  auto authority = make_authority();
  auto issued = issue(authority, of_host("hostA"));
  // An agent that poses as the controller.
  auto info = verify_certificate(issued.pem, authority.certificate(), Purpose::kServer, now());
  ASSERT_FALSE(info);
  EXPECT_THAT(info.error().message, HasSubstr("another purpose"));
}

TEST(Certificate, SignsNoOther) {
  auto authority = make_authority();
  auto key = PrivateKey::generate();
  ASSERT_TRUE(key);
  auto leaf = authority.issue(public_half(*key), of_host("hostA"));
  ASSERT_TRUE(leaf);
  // A host makes a CA of its certificate.
  auto rogue = Authority::load(leaf->pem, key->pem()->reveal());
  ASSERT_TRUE(rogue);
  auto other = of_host("hostB");
  auto key_b = PrivateKey::generate();
  auto issued = rogue->issue(public_half(*key_b), other);
  ASSERT_TRUE(issued);
  EXPECT_FALSE(verify_certificate(issued->pem, authority.certificate(), Purpose::kClient, now()));
  EXPECT_FALSE(verify_certificate(issued->pem + leaf->pem, authority.certificate(),
                                  Purpose::kClient, now()));
}

TEST(Certificate, DoesNotOutliveItsCa) {
  auto authority = make_authority();
  auto options = of_host("hostA");
  options.validity = hours(24 * 365 * 20);
  EXPECT_EQ(issue(authority, options).info.not_after, now() + hours(24 * 365));
  options.now = now() + hours(24 * 366);
  auto key = PrivateKey::generate();
  EXPECT_FALSE(authority.issue(public_half(*key), options));
}

TEST(Certificate, CarriesAddressesOfAServer) {
  auto authority = make_authority();
  IssueOptions options;
  options.purpose = Purpose::kServer;
  options.now = now();
  options.validity = hours(24);
  options.dns_names = {"controller.example", "a,DNS:evil.example"};
  options.ip_addresses = {"192.0.2.1", "2001:db8::1"};
  auto issued = issue(authority, options);
  auto info = verify_certificate(issued.pem, authority.certificate(), Purpose::kServer, now());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->identity.kind, Identity::Kind::kController);
  options.ip_addresses = {"not an address"};
  auto key = PrivateKey::generate();
  EXPECT_FALSE(authority.issue(public_half(*key), options));
}

TEST(Certificate, GarbageIsNone) {
  auto authority = make_authority();
  auto good = issue(authority, of_host("hostA")).pem;
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string("-----BEGIN CERTIFICATE-----\n"),
        std::string(1 << 20, 'A'), good.substr(0, good.size() / 2), std::string(300, '\0')}) {
    EXPECT_FALSE(read_certificate(bad));
    auto info = verify_certificate(bad, authority.certificate(), Purpose::kClient, now());
    ASSERT_FALSE(info);
    EXPECT_EQ(info.error().code, Code::kUnauthenticated);
  }
  // The CA's own certificate names no holder.
  EXPECT_FALSE(read_certificate(authority.certificate()));
}

TEST(Identity, HasOneSpelling) {
  for (const char* good : {"qmasq://controller", "qmasq://hosts/hostA", "qmasq://accesses/alice"}) {
    auto identity = identity_of_uri(good);
    ASSERT_TRUE(identity) << good;
    EXPECT_EQ(uri_of(*identity), good);
  }
  using std::string_literals::operator""s;
  for (const auto& bad : {"qmasq://"s, "http://hosts/hostA"s, "qmasq://hosts/"s,
                          "qmasq://hosts/a/b"s, "qmasq://accesses/Alice"s, "qmasq://controller/"s,
                          "qmasq://hosts/a\0b"s, "QMASQ://controller"s}) {
    EXPECT_FALSE(identity_of_uri(bad)) << bad;
  }
}

TEST(CertificateRequest, ProvesItsKey) {
  auto key = PrivateKey::generate();
  ASSERT_TRUE(key);
  auto request = make_certificate_request(*key);
  ASSERT_TRUE(request);
  EXPECT_TRUE(read_certificate_request(*request));
  // One changed letter anywhere: refused, never a crash.
  for (std::size_t i = 0; i < request->size(); i += 3) {
    std::string bad = *request;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    auto read = read_certificate_request(bad);
    if (read) continue;  // a bit that base64 does not use, or the armour
    EXPECT_EQ(read.error().code, Code::kInvalidArgument);
    EXPECT_THAT(read.error().message, Not(HasSubstr("BEGIN")));
  }
  EXPECT_FALSE(read_certificate_request(""));
  EXPECT_FALSE(read_certificate_request(std::string(1 << 20, 'x')));
  EXPECT_FALSE(read_certificate_request(key->pem()->reveal()));
}

TEST(JoinToken, HoldsSecretAndFingerprint) {
  auto authority = make_authority();
  auto token = make_join_token(authority.fingerprint());
  ASSERT_TRUE(token);
  auto parts = parse_join_token(token->reveal());
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->fingerprint, authority.fingerprint());
  auto hash = hash_join_secret(parts->secret);
  ASSERT_TRUE(hash);
  EXPECT_EQ(hash->size(), 64U);
  EXPECT_THAT(*hash, Not(HasSubstr(parts->secret.reveal())));
  auto other = make_join_token(authority.fingerprint());
  EXPECT_NE(other->reveal(), token->reveal());
  EXPECT_TRUE(equal_secrets(*hash, *hash));
  EXPECT_FALSE(equal_secrets(*hash, hash->substr(1)));
}

TEST(JoinToken, ErrorsDoNotRepeatIt) {
  auto authority = make_authority();
  auto token = make_join_token(authority.fingerprint());
  ASSERT_TRUE(token);
  for (std::size_t cut : {0U, 1U, 7U, 50U, 100U, 114U}) {
    auto parts = parse_join_token(std::string_view(token->reveal()).substr(0, cut));
    ASSERT_FALSE(parts);
    EXPECT_THAT(parts.error().message, Not(HasSubstr(token->reveal().substr(7, 8))));
  }
  EXPECT_FALSE(parse_join_token(token->reveal() + "\n"));
}

}  // namespace
}  // namespace qmasq::trust
