// SPDX-License-Identifier: Apache-2.0
#include "trust/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>

#include "tests/integration/trust/who_server.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_dir.h"
#include "trust/authority.h"
#include "trust/stored_identity.h"

namespace qmasq::trust {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[4096];
  while (std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe))
    out.text.append(buffer, got);
  out.status = WEXITSTATUS(::pclose(pipe));
  return out;
}

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Authority::create("test", clock_.wall(), hours(24));
    ASSERT_TRUE(made);
    authority_.emplace(std::move(*made));
    give("server", {}, Purpose::kServer);
    auto credentials = server_credentials(dir_.file("server"));
    ASSERT_TRUE(credentials) << credentials.error().message;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", *credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_TRUE(server_);
    ASSERT_NE(port_, 0);
  }
  void TearDown() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  std::string give(const std::string& name, const Identity& identity, Purpose purpose,
                   const Authority* by = nullptr) {
    const Authority& authority = by != nullptr ? *by : *authority_;
    auto key = PrivateKey::generate();
    IssueOptions options{identity, purpose, clock_.wall(), hours(1), {}, {}};
    if (purpose == Purpose::kServer) options.ip_addresses = {"127.0.0.1"};
    auto issued = authority.issue(public_half(*key), options);
    EXPECT_TRUE(issued);
    EXPECT_TRUE(write_identity(dir_.file(name), *key, issued->pem, authority.certificate()));
    return issued->pem;
  }
  grpc::Status call(const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                    v1::Caller* caller) {
    auto channel = testing::connect("127.0.0.1:" + std::to_string(port_), credentials);
    return testing::who(channel.get(), caller);
  }
  std::string s_client(const std::string& options) {
    return "timeout 20 openssl s_client -connect 127.0.0.1:" + std::to_string(port_) +
           " -alpn h2 " + options + " </dev/null";
  }

  SystemClock clock_;
  qmasq::testing::TempDir dir_;
  std::optional<Authority> authority_;
  testing::WhoService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(Tls, TheServerSeesTheClientsCertificate) {
  auto pem = give("hostA", {Identity::Kind::kHost, "hostA"}, Purpose::kClient);
  auto credentials = client_credentials(dir_.file("hostA"), clock_);
  ASSERT_TRUE(credentials) << credentials.error().message;
  v1::Caller caller;
  auto status = call(*credentials, &caller);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(caller.name(), pem);
}

TEST_F(Tls, AStrangersCertificateReachesTheServer) {
  // It is the server's part to refuse it, in words.
  auto theirs = Authority::create("theirs", clock_.wall(), hours(24));
  ASSERT_TRUE(theirs);
  auto pem = give("stranger", {Identity::Kind::kHost, "hostA"}, Purpose::kClient, &*theirs);
  // It believes our CA.
  auto stored = read_identity(dir_.file("stranger"));
  ASSERT_TRUE(stored);
  ASSERT_TRUE(write_identity(dir_.file("stranger"), stored->key, pem, authority_->certificate()));
  auto credentials = client_credentials(dir_.file("stranger"), clock_);
  ASSERT_TRUE(credentials);
  v1::Caller caller;
  auto status = call(*credentials, &caller);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(caller.name(), pem);
}

TEST_F(Tls, AClientRefusesAnotherServer) {
  auto theirs = Authority::create("theirs", clock_.wall(), hours(24));
  ASSERT_TRUE(theirs);
  give("other", {Identity::Kind::kHost, "hostA"}, Purpose::kClient, &*theirs);
  auto credentials = client_credentials(dir_.file("other"), clock_);
  ASSERT_TRUE(credentials);
  v1::Caller caller;
  auto status = call(*credentials, &caller);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("this is not our controller"));
}

TEST_F(Tls, AHostCannotPoseAsTheController) {
  give("server", {Identity::Kind::kHost, "hostA"}, Purpose::kServer);
  auto credentials = server_credentials(dir_.file("server"));
  ASSERT_TRUE(credentials);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", *credentials, &port);
  testing::WhoService service;
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  give("hostB", {Identity::Kind::kHost, "hostB"}, Purpose::kClient);
  auto mine = client_credentials(dir_.file("hostB"), clock_);
  ASSERT_TRUE(mine);
  auto channel = testing::connect("127.0.0.1:" + std::to_string(port), *mine);
  v1::Caller caller;
  auto status = testing::who(channel.get(), &caller);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.error_message(), HasSubstr("of hosts/hostA, not of the controller"));
  server->Shutdown(std::chrono::system_clock::now());
}

TEST_F(Tls, WhoJoinsKnowsTheControllerByTheFingerprint) {
  auto credentials = joining_credentials(authority_->fingerprint(), clock_);
  ASSERT_TRUE(credentials);
  v1::Caller caller;
  auto status = call(*credentials, &caller);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(caller.name(), "");

  credentials = joining_credentials(std::string(64, '0'), clock_);
  ASSERT_TRUE(credentials);
  status = call(*credentials, &caller);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("fingerprint"));
}

TEST_F(Tls, OnlyVersion13) {
  auto new_one = run(s_client("-tls1_3 -brief"));
  EXPECT_EQ(new_one.status, 0) << new_one.text;
  EXPECT_THAT(new_one.text, HasSubstr("TLSv1.3"));
  for (const char* old : {"-tls1_2", "-tls1_2 -cipher ALL:COMPLEMENTOFALL:@SECLEVEL=0",
                          "-tls1_2 -cipher PSK-AES128-GCM-SHA256 -psk 0123456789abcdef",
                          "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1 -cipher ALL:@SECLEVEL=0"}) {
    auto refused = run(s_client(std::string(old) + " -brief"));
    EXPECT_NE(refused.status, 0) << old << "\n" << refused.text;
    EXPECT_THAT(refused.text, ::testing::Not(HasSubstr("CONNECTION ESTABLISHED"))) << old;
  }
}

TEST_F(Tls, ARenewedCertificateIsUsedWithoutARestart) {
  auto serial = [&] {
    auto out = run(s_client("-tls1_3") + " 2>/dev/null | openssl x509 -noout -serial");
    return out.text;
  };
  const auto before = serial();
  ASSERT_THAT(before, HasSubstr("serial="));
  give("server", {}, Purpose::kServer);
  EXPECT_TRUE(test::eventually([&] { return serial() != before; }, std::chrono::seconds(40)));
}

TEST_F(Tls, FilesOpenToOthersAreRefused) {
  ASSERT_EQ(::chmod(identity_file(dir_.file("server")).c_str(), 0644), 0);
  auto server = server_credentials(dir_.file("server"));
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("chmod 600"));
  auto client = client_credentials(dir_.file("server"), clock_);
  EXPECT_FALSE(client);
}

}  // namespace
}  // namespace qmasq::trust
