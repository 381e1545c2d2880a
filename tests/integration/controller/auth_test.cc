// SPDX-License-Identifier: Apache-2.0
// Who gets in, who does not, and what is said and recorded of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "tests/integration/controller/auth_world.h"
#include "trust/certificate_request.h"
#include "trust/stored_identity.h"
#include "trust/tls.h"

namespace qmasq::controller {
namespace {

using grpc::StatusCode;
using ::testing::AllOf;
using ::testing::AnyOf;
using testing::AuthWorld;
using testing::Client;
using ::testing::Contains;
using testing::ControllerProcess;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_program;

class Auth : public ::testing::Test {
 protected:
  void SetUp() override { world_.process.start(); }

  grpc::Status who(const std::shared_ptr<grpc::Channel>& channel, v1::Caller* caller) {
    return v1::AuthService::NewStub(channel)->WhoAmI(Client::context().get(), {}, caller);
  }
  static grpc::Status create_vpc(const std::shared_ptr<grpc::Channel>& channel,
                                 const std::string& id) {
    v1::CreateVpcRequest request;
    request.set_vpc_id(id);
    request.mutable_vpc()->add_ranges("10.0.0.0/24");
    v1::Vpc ignored;
    return v1::VpcService::NewStub(channel)->CreateVpc(Client::context().get(), request, &ignored);
  }
  static grpc::Status get_vpc(const std::shared_ptr<grpc::Channel>& channel,
                              const std::string& id) {
    v1::GetVpcRequest request;
    request.set_name("vpcs/" + id);
    v1::Vpc ignored;
    return v1::VpcService::NewStub(channel)->GetVpc(Client::context().get(), request, &ignored);
  }
  // Whether a refusal was recorded with that status, of that method, about that.
  void expect_audited(const std::string& status, const std::string& method,
                      const std::string& text) {
    auto records = world_.audit("status=" + status);
    bool found = std::any_of(records.begin(), records.end(), [&](const v1::AuditRecord& record) {
      return record.method() == method && record.message().find(text) != std::string::npos &&
             !record.caller().peer().empty();
    });
    EXPECT_TRUE(found) << status << " " << method << " " << text << " in " << records.size()
                       << " records" << (records.empty() ? "" : records[0].ShortDebugString());
  }

  AuthWorld world_;
};

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Init, MakesFilesForTheirOwnerOnly) {
  AuthWorld world;
  auto mode = [&](const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::stat((world.process.data_dir() + "/" + name).c_str(), &info), 0) << name;
    return info.st_mode & 07777;
  };
  EXPECT_EQ(mode("tls"), 0700U);
  EXPECT_EQ(mode("tls/ca.key"), 0600U);
  EXPECT_EQ(mode("tls/identity.pem"), 0600U);
  EXPECT_EQ(mode("admin"), 0700U);
  EXPECT_EQ(mode("admin/identity.pem"), 0600U);
  auto again = run_program({"init", "--data-dir", world.process.data_dir()});
  EXPECT_NE(again.status, 0);
  EXPECT_THAT(again.output, HasSubstr("has its CA already"));
  auto wrong = run_program({"init", "--data-dir", world.dir.file("new"), "--address", "a.example"});
  EXPECT_NE(wrong.status, 0);
  EXPECT_THAT(wrong.output, HasSubstr("--dns"));
  // A key that others can read is no key any more.
  ASSERT_EQ(::chmod((world.process.data_dir() + "/tls/ca.key").c_str(), 0644), 0);
  auto refused = run_program({"--data-dir", world.process.data_dir(), "--socket", "", "--metrics",
                              "", "--listen", "127.0.0.1:0"});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("chmod 600"));
}

TEST(Init, NotWhileAControllerRuns) {
  ControllerProcess process;
  process.start();
  auto refused = run_program({"init", "--data-dir", process.data_dir()});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("another qmasq-controller uses"));
}

TEST_F(Auth, CallersAreWhoTheyProve) {
  v1::Caller caller;
  ASSERT_TRUE(who(world_.channel(world_.admin()), &caller).ok());
  EXPECT_EQ(caller.name(), "accesses/admin");
  EXPECT_EQ(caller.role(), v1::ADMIN);
  EXPECT_THAT(caller.peer(), HasSubstr("127.0.0.1:"));
  EXPECT_FALSE(caller.certificate_serial().empty());
  ASSERT_TRUE(who(world_.local(), &caller).ok());
  EXPECT_EQ(caller.name(), "uid/" + std::to_string(::getuid()));
  EXPECT_EQ(caller.role(), v1::ADMIN);
  EXPECT_THAT(caller.peer(), HasSubstr("unix:pid=" + std::to_string(::getpid())));
  ASSERT_TRUE(who(world_.channel(world_.make_host("hostA")), &caller).ok());
  EXPECT_EQ(caller.name(), "hosts/hostA");
  EXPECT_EQ(caller.role(), v1::HOST);
  EXPECT_TRUE(create_vpc(world_.channel(world_.admin()), "blue").ok());
}

TEST_F(Auth, NoMethodWithoutAnIdentity) {
  auto methods = testing::all_methods();
  EXPECT_GE(methods.size(), 39U);
  for (const auto& method : methods) {
    auto status = AuthWorld::call(world_.stranger(), method);
    EXPECT_EQ(status.error_code(), StatusCode::UNAUTHENTICATED)
        << method << ": " << status.error_message();
  }
  expect_audited("UNAUTHENTICATED", "VpcService/ListVpcs", "no certificate was shown");
}

TEST_F(Auth, AHostMayOnlyBeItself) {
  auto channel = world_.channel(world_.make_host("hostA"));
  const std::set<std::string> its = {"Sync", "JoinHost", "RenewCertificate", "WhoAmI"};
  for (const auto& method : testing::all_methods()) {
    if (its.contains(method.substr(method.find('/') + 1))) continue;
    auto status = AuthWorld::call(channel, method);
    EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED)
        << method << ": " << status.error_message();
  }
  expect_audited("PERMISSION_DENIED", "VpcService/CreateVpc", "hosts/hostA is a host");
}

TEST_F(Auth, AViewerChangesNothing) {
  ASSERT_TRUE(create_vpc(world_.local(), "blue").ok());
  auto channel = world_.channel(world_.make_access("eve", v1::VIEWER));
  for (const auto& method : testing::all_methods()) {
    const std::string name = method.substr(method.find('/') + 1);
    const bool changes = name.starts_with("Create") || name.starts_with("Update") ||
                         name.starts_with("Delete") || name.starts_with("Revoke");
    if (!changes) continue;
    auto status = AuthWorld::call(channel, method);
    EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED)
        << method << ": " << status.error_message();
  }
  EXPECT_TRUE(get_vpc(channel, "blue").ok());
  auto refused = create_vpc(channel, "red");
  EXPECT_EQ(refused.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), HasSubstr("accesses/eve is a viewer"));
  expect_audited("PERMISSION_DENIED", "VpcService/CreateVpc", "accesses/eve is a viewer");
  EXPECT_EQ(get_vpc(world_.local(), "red").error_code(), StatusCode::NOT_FOUND);
}

TEST_F(Auth, AStrangersCertificateIsRefused) {
  auto channel = world_.channel(world_.make_forged({trust::Identity::Kind::kAccess, "admin"}));
  auto refused = get_vpc(channel, "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(refused.error_message(),
              AllOf(HasSubstr("not signed by"), HasSubstr("accesses/admin")));
  expect_audited("UNAUTHENTICATED", "VpcService/GetVpc", "not signed by");
  // It proves nothing about the name that it claims.
  auto records = world_.audit("status=UNAUTHENTICATED");
  ASSERT_FALSE(records.empty());
  EXPECT_EQ(records[0].caller().name(), "unknown");
}

TEST_F(Auth, ACertificateOfOursThatNobodyIssuedIsRefused) {
  // Somebody has the CA's key, or a backup was put back.
  auto ca = slurp(world_.process.data_dir() + "/tls/ca.pem");
  auto authority = trust::Authority::load(ca, slurp(world_.process.data_dir() + "/tls/ca.key"));
  ASSERT_TRUE(authority);
  auto key = trust::PrivateKey::generate();
  trust::IssueOptions options;
  options.identity = {trust::Identity::Kind::kAccess, "admin"};
  options.now = world_.clock.wall();
  options.validity = std::chrono::hours(1);
  auto issued = authority->issue(trust::public_half(*key), options);
  ASSERT_TRUE(issued);
  ASSERT_TRUE(trust::write_identity(world_.dir.file("x"), *key, issued->pem, ca));
  auto refused = get_vpc(world_.channel(world_.dir.file("x")), "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(refused.error_message(), HasSubstr("remembers to have issued"));
}

TEST_F(Auth, AnExpiredCertificateIsRefused) {
  auto channel = world_.channel(world_.make_access("brief", v1::ADMIN, {}, 2));
  auto first = get_vpc(channel, "blue");
  EXPECT_THAT(first.error_code(), AnyOf(StatusCode::NOT_FOUND, StatusCode::UNAUTHENTICATED));
  std::this_thread::sleep_for(std::chrono::seconds(3));
  // On the connection that it made in time, and on a new one.
  auto refused = get_vpc(channel, "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(refused.error_message(), HasSubstr("the certificate expired on"));
  refused = get_vpc(world_.channel(world_.dir.file("brief")), "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  expect_audited("UNAUTHENTICATED", "VpcService/GetVpc", "expired on");
}

TEST_F(Auth, AnotherHostsStreamIsRefused) {
  auto channel = world_.channel(world_.make_host("hostA"));
  auto stub = v1::SyncService::NewStub(channel);
  auto hello = [&](const std::string& host) {
    auto context = Client::context();
    auto stream = stub->Sync(context.get());
    v1::SyncRequest request;
    request.mutable_hello()->set_protocol_version(3);
    request.mutable_hello()->set_host(host);
    stream->Write(request);
    v1::SyncResponse response;
    if (stream->Read(&response)) {
      context->TryCancel();
      stream->Finish();
      return grpc::Status::OK;
    }
    return stream->Finish();
  };
  EXPECT_TRUE(hello("hosts/hostA").ok());
  auto refused = hello("hosts/hostB");
  EXPECT_EQ(refused.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), HasSubstr("the certificate is of hosts/hostA"));
  auto records = world_.audit("resource=hosts/hostB");
  ASSERT_FALSE(records.empty());
  EXPECT_EQ(records[0].caller().name(), "hosts/hostA");
  EXPECT_EQ(records[0].status(), "PERMISSION_DENIED");
  // Nor may a remote admin pose as one.
  auto admin = v1::SyncService::NewStub(world_.channel(world_.admin()));
  auto context = Client::context();
  EXPECT_EQ(admin->Sync(context.get())->Finish().error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(Auth, OnlyTls13) {
  auto s_client = [&](const std::string& options) {
    return std::system(("timeout 20 openssl s_client -alpn h2 -connect " +
                        world_.process.address() + " " + options + " </dev/null >/dev/null 2>&1")
                           .c_str());
  };
  EXPECT_EQ(s_client("-tls1_3"), 0);
  EXPECT_NE(s_client("-tls1_2"), 0);
  EXPECT_NE(s_client("-tls1_2 -cipher ALL:@SECLEVEL=0"), 0);
  // Without TLS nobody gets anywhere.
  auto insecure = grpc::CreateChannel(world_.process.address(), grpc::InsecureChannelCredentials());
  auto context = Client::context(5);
  v1::Caller caller;
  EXPECT_FALSE(v1::AuthService::NewStub(insecure)->WhoAmI(context.get(), {}, &caller).ok());
}

TEST_F(Auth, RevokingAHostEndsItsStream) {
  auto channel = world_.channel(world_.make_host("hostA"));
  auto stub = v1::SyncService::NewStub(channel);
  auto context = Client::context(60);
  auto stream = stub->Sync(context.get());
  v1::SyncRequest request;
  request.mutable_hello()->set_protocol_version(3);
  request.mutable_hello()->set_host("hosts/hostA");
  ASSERT_TRUE(stream->Write(request));
  v1::SyncResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(response.has_welcome());
  const std::string token = world_.make_token("hostA");
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(world_.revoke_host("hostA").ok());
  while (stream->Read(&response)) {
  }
  auto ended = stream->Finish();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(ended.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(ended.error_message(), HasSubstr("revoked"));
  auto again = Client::context();
  auto refused = stub->Sync(again.get())->Finish();
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  expect_audited("UNAUTHENTICATED", "SyncService/Sync", "revoked");
  // Its open token went too; a new one lets it in again.
  auto key = trust::PrivateKey::generate();
  v1::Certificate certificate;
  auto old = world_.join(token, *trust::make_certificate_request(*key), &certificate);
  EXPECT_EQ(old.error_code(), StatusCode::UNAUTHENTICATED);
  v1::Caller caller;
  EXPECT_TRUE(who(world_.channel(world_.make_host("hostA")), &caller).ok());
}

TEST_F(Auth, RevokingAnAccessEndsWhatItWaitsFor) {
  ASSERT_TRUE(create_vpc(world_.local(), "blue").ok());
  v1::CreateHostRequest host;
  host.set_host_id("hostA");
  v1::Host made;
  ASSERT_TRUE(v1::HostService::NewStub(world_.local())
                  ->CreateHost(Client::context().get(), host, &made)
                  .ok());
  v1::CreateEndpointRequest endpoint;
  endpoint.set_parent("vpcs/blue");
  endpoint.set_endpoint_id("a");
  endpoint.mutable_endpoint()->set_host("hosts/hostA");
  v1::Endpoint placed;
  ASSERT_TRUE(v1::EndpointService::NewStub(world_.local())
                  ->CreateEndpoint(Client::context().get(), endpoint, &placed)
                  .ok());
  auto channel = world_.channel(world_.make_access("alice", v1::ADMIN));
  grpc::Status ended;
  std::thread waiting([&] {
    v1::WaitRolloutRequest request;
    request.set_revision(placed.revision());
    request.mutable_timeout()->set_seconds(60);
    v1::WaitRolloutResponse response;
    ended = v1::HostService::NewStub(channel)->WaitRollout(Client::context(90).get(), request,
                                                           &response);
  });
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(world_.revoke_access("alice").ok());
  waiting.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(ended.error_code(), StatusCode::UNAUTHENTICATED) << ended.error_message();
  auto refused = get_vpc(channel, "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(refused.error_message(), HasSubstr("revoked"));
  expect_audited("UNAUTHENTICATED", "VpcService/GetVpc", "revoked");
  EXPECT_FALSE(world_.audit("caller=accesses/alice AND method=GetVpc").empty());
  // For ever, and over a restart.
  EXPECT_EQ(world_.process.stop(), 0);
  world_.process.start();
  EXPECT_EQ(get_vpc(world_.channel(world_.dir.file("alice")), "blue").error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(get_vpc(world_.channel(world_.admin()), "blue").ok());
}

TEST_F(Auth, JoinTokensAreGoodOnce) {
  auto key = trust::PrivateKey::generate();
  const auto request = *trust::make_certificate_request(*key);
  v1::Certificate certificate;
  const auto token = world_.make_token("hostA");
  auto garbage = world_.join(token, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", &certificate);
  EXPECT_EQ(garbage.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(garbage.error_message(), HasSubstr("certificate_request: "));
  // That did not use it up.
  EXPECT_TRUE(world_.join(token, request, &certificate).ok());
  auto info = trust::read_certificate(certificate.certificate());
  ASSERT_TRUE(info);
  EXPECT_EQ(trust::name_of(info->identity), "hosts/hostA");
  auto replayed = world_.join(token, request, &certificate);
  EXPECT_EQ(replayed.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(replayed.error_message(), HasSubstr("was used or revoked on"));
  const auto brief = world_.make_token("hostB", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  auto late = world_.join(brief, request, &certificate);
  EXPECT_EQ(late.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(late.error_message(), HasSubstr("expired on"));
  auto unknown = token;
  unknown[10] = unknown[10] == 'A' ? 'B' : 'A';
  auto none = world_.join(unknown, request, &certificate);
  EXPECT_EQ(none.error_code(), StatusCode::UNAUTHENTICATED);
  expect_audited("UNAUTHENTICATED", "AuthService/JoinHost", "was used or revoked on");
  expect_audited("UNAUTHENTICATED", "AuthService/JoinHost", "expired on");
  expect_audited("UNAUTHENTICATED", "AuthService/JoinHost", "knows no such join token");
  auto joined = world_.audit("method=JoinHost AND status=OK");
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_EQ(joined[0].resource(), "hosts/hostA");

  // The secret is nowhere: not in the log, not in the database, not in the audit log.
  for (const auto& secret : {token, brief}) {
    const std::string part = secret.substr(7, 43);
    EXPECT_THAT(world_.process.log(), Not(HasSubstr(part)));
    for (const auto& file :
         std::filesystem::recursive_directory_iterator(world_.process.data_dir())) {
      if (file.is_regular_file()) {
        EXPECT_THAT(slurp(file.path()), Not(HasSubstr(part))) << file.path();
      }
    }
    for (const auto& record : world_.audit())
      EXPECT_THAT(record.SerializeAsString(), Not(HasSubstr(part)));
  }
  // Keys are in the log of nobody either.
  EXPECT_THAT(world_.process.log(), Not(HasSubstr("PRIVATE KEY")));
  for (const auto& record : world_.audit())
    EXPECT_THAT(record.SerializeAsString(), Not(HasSubstr("BEGIN ")));
}

TEST_F(Auth, ACertificateIsRenewedByWhoHoldsOne) {
  const auto place = world_.make_host("hostA");
  auto channel = world_.channel(place);
  auto key = trust::PrivateKey::generate();
  v1::RenewCertificateRequest request;
  request.set_certificate_request(*trust::make_certificate_request(*key));
  v1::Certificate certificate;
  auto stub = v1::AuthService::NewStub(channel);
  ASSERT_TRUE(stub->RenewCertificate(Client::context().get(), request, &certificate).ok());
  auto before = trust::read_identity(place);
  auto after = trust::read_certificate(certificate.certificate());
  ASSERT_TRUE(before && after);
  EXPECT_EQ(after->identity, before->info.identity);
  EXPECT_NE(after->serial, before->info.serial);
  EXPECT_GE(after->not_after, before->info.not_after);
  ASSERT_TRUE(
      trust::write_identity(place, *key, certificate.certificate(), certificate.ca_certificate()));
  v1::Caller caller;
  ASSERT_TRUE(who(world_.channel(place), &caller).ok());
  EXPECT_EQ(caller.certificate_serial(), after->serial);
  // The socket's callers have none.
  auto none = v1::AuthService::NewStub(world_.local())
                  ->RenewCertificate(Client::context().get(), request, &certificate);
  EXPECT_EQ(none.error_code(), StatusCode::FAILED_PRECONDITION);
  request.set_certificate_request("garbage");
  EXPECT_EQ(stub->RenewCertificate(Client::context().get(), request, &certificate).error_code(),
            StatusCode::INVALID_ARGUMENT);
}

TEST_F(Auth, UsersOfTheMachineAreWhatTheirAccessSays) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become others";
  const auto directory = std::filesystem::path(world_.process.socket()).parent_path();
  ASSERT_EQ(::chmod(directory.c_str(), 0755), 0);
  // Connects as the user; the connection stays theirs.
  auto as_user = [&](uid_t uid, gid_t gid) {
    auto channel = world_.local();
    EXPECT_EQ(::setegid(gid), 0);
    EXPECT_EQ(::seteuid(uid), 0);
    bool up =
        channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20));
    EXPECT_EQ(::seteuid(0), 0);
    EXPECT_EQ(::setegid(0), 0);
    EXPECT_TRUE(up);
    return channel;
  };
  ASSERT_TRUE(create_vpc(world_.local(), "blue").ok());
  auto refused = get_vpc(as_user(3000, 3000), "blue");
  EXPECT_EQ(refused.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), HasSubstr("uid/3000"));
  expect_audited("PERMISSION_DENIED", "VpcService/GetVpc", "uid/3000");
  auto give = [&](const std::string& id, std::optional<std::uint32_t> user,
                  std::optional<std::uint32_t> group, v1::Role role) {
    v1::CreateAccessRequest request;
    request.set_access_id(id);
    request.mutable_access()->set_role(role);
    if (user) request.mutable_access()->set_user_id(*user);
    if (group) request.mutable_access()->set_group_id(*group);
    v1::CreateAccessResponse response;
    auto status = v1::AuthService::NewStub(world_.local())
                      ->CreateAccess(Client::context().get(), request, &response);
    EXPECT_FALSE(response.has_certificate());
    return status;
  };
  ASSERT_TRUE(give("bob", 3000, std::nullopt, v1::VIEWER).ok());
  ASSERT_TRUE(give("operators", std::nullopt, 4000, v1::ADMIN).ok());
  EXPECT_EQ(give("bob-too", 3000, std::nullopt, v1::ADMIN).error_code(),
            StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(give("root", 0, std::nullopt, v1::VIEWER).error_code(), StatusCode::INVALID_ARGUMENT);
  auto bob = as_user(3000, 3000);
  EXPECT_TRUE(get_vpc(bob, "blue").ok());
  EXPECT_EQ(create_vpc(bob, "red").error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(create_vpc(as_user(3001, 4000), "green").ok());
  EXPECT_EQ(world_.audit("resource=vpcs/green")[0].caller().name(), "accesses/operators");
  ASSERT_TRUE(world_.revoke_access("bob").ok());
  EXPECT_EQ(get_vpc(bob, "blue").error_code(), StatusCode::PERMISSION_DENIED);
}

}  // namespace
}  // namespace qmasq::controller

int main(int argc, char** argv) {
  qmasq::trust::require_tls13();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
