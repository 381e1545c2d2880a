// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/controller/auth_world.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "qmasq/v1/agent.pb.h"
#include "qmasq/v1/impact.pb.h"
#include "trust/certificate_request.h"
#include "trust/stored_identity.h"
#include "trust/tls.h"

namespace qmasq::controller::testing {
namespace {

std::shared_ptr<grpc::Channel> connect(const std::string& target,
                                       const std::shared_ptr<grpc::ChannelCredentials>& with) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, with, arguments);
}

}  // namespace

AuthWorld::AuthWorld() {
  auto made = run_program({"init", "--data-dir", process.data_dir(), "--address", "127.0.0.1"});
  EXPECT_EQ(made.status, 0) << made.output;
}

std::shared_ptr<grpc::Channel> AuthWorld::channel(const std::string& directory) {
  auto credentials = trust::client_credentials(directory, clock);
  EXPECT_TRUE(credentials) << credentials.error().message;
  return connect(process.address(), *credentials);
}

std::shared_ptr<grpc::Channel> AuthWorld::stranger() {
  auto stored = trust::read_identity(admin());
  EXPECT_TRUE(stored);
  auto credentials =
      trust::joining_credentials(*trust::fingerprint_of(stored->ca_certificate), clock);
  EXPECT_TRUE(credentials);
  return connect(process.address(), *credentials);
}

std::string AuthWorld::make_access(const std::string& id, v1::Role role,
                                   const std::vector<std::string>& vpcs, int ttl_seconds) {
  auto key = trust::PrivateKey::generate();
  v1::CreateAccessRequest request;
  request.set_access_id(id);
  request.mutable_access()->set_role(role);
  for (const auto& vpc : vpcs)
    request.mutable_access()->add_vpcs("vpcs/" + vpc);
  request.set_certificate_request(*trust::make_certificate_request(*key));
  if (ttl_seconds > 0) request.mutable_ttl()->set_seconds(ttl_seconds);
  v1::CreateAccessResponse response;
  auto status =
      v1::AuthService::NewStub(local())->CreateAccess(Client::context().get(), request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.access().name(), "accesses/" + id);
  const auto place = dir.file(id);
  EXPECT_TRUE(trust::write_identity(place, *key, response.certificate().certificate(),
                                    response.certificate().ca_certificate()));
  return place;
}

std::string AuthWorld::make_token(const std::string& host, int ttl_seconds) {
  v1::CreateJoinTokenRequest request;
  request.set_host("hosts/" + host);
  if (ttl_seconds > 0) request.mutable_ttl()->set_seconds(ttl_seconds);
  v1::JoinToken token;
  auto status =
      v1::AuthService::NewStub(local())->CreateJoinToken(Client::context().get(), request, &token);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return token.token();
}

grpc::Status AuthWorld::join(const std::string& token, const std::string& request,
                             v1::Certificate* out) {
  v1::JoinHostRequest message;
  message.set_token(token);
  message.set_certificate_request(request);
  return v1::AuthService::NewStub(stranger())->JoinHost(Client::context().get(), message, out);
}

std::string AuthWorld::make_host(const std::string& id) {
  auto key = trust::PrivateKey::generate();
  v1::Certificate certificate;
  auto status = join(make_token(id), *trust::make_certificate_request(*key), &certificate);
  EXPECT_TRUE(status.ok()) << status.error_message();
  const auto place = dir.file("host-" + id);
  EXPECT_TRUE(
      trust::write_identity(place, *key, certificate.certificate(), certificate.ca_certificate()));
  return place;
}

std::string AuthWorld::make_forged(const trust::Identity& identity) {
  auto theirs = trust::Authority::create("theirs", clock.wall(), std::chrono::hours(1));
  auto key = trust::PrivateKey::generate();
  trust::IssueOptions options;
  options.identity = identity;
  options.now = clock.wall();
  options.validity = std::chrono::hours(1);
  auto issued = theirs->issue(trust::public_half(*key), options);
  auto ours = trust::read_identity(admin());
  const auto place = dir.file("forged");
  EXPECT_TRUE(trust::write_identity(place, *key, issued->pem, ours->ca_certificate));
  return place;
}

grpc::Status AuthWorld::revoke_access(const std::string& id) {
  v1::RevokeAccessRequest request;
  request.set_name("accesses/" + id);
  v1::Access ignored;
  return v1::AuthService::NewStub(local())->RevokeAccess(Client::context().get(), request,
                                                         &ignored);
}

grpc::Status AuthWorld::revoke_host(const std::string& id) {
  v1::RevokeHostRequest request;
  request.set_name("hosts/" + id);
  v1::RevokeHostResponse ignored;
  return v1::AuthService::NewStub(local())->RevokeHost(Client::context().get(), request, &ignored);
}

std::vector<v1::AuditRecord> AuthWorld::audit(const std::string& filter) {
  v1::ListAuditRecordsRequest request;
  request.set_filter(filter);
  v1::ListAuditRecordsResponse response;
  auto status = v1::AuthService::NewStub(local())->ListAuditRecords(Client::context().get(),
                                                                    request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {response.records().begin(), response.records().end()};
}

grpc::Status AuthWorld::call(const std::shared_ptr<grpc::Channel>& channel,
                             const std::string& method) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  auto context = Client::context(30);
  auto rpc = stub.PrepareCall(context.get(), "/" + method, &queue);
  auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  rpc->StartCall(nullptr);
  wait();
  grpc::Slice empty;
  rpc->WriteLast(grpc::ByteBuffer(&empty, 1), grpc::WriteOptions(), nullptr);
  wait();
  grpc::Status status;
  rpc->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  return status;
}

std::vector<std::string> all_methods() {
  // So that the linker keeps every file.
  v1::Agent::descriptor();
  v1::Impact::descriptor();
  v1::AuditRecord::descriptor();
  v1::TraceRequest::descriptor();
  v1::SecurityGroup::descriptor();
  std::vector<std::string> out;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const auto& entry : std::filesystem::directory_iterator("schema/proto/qmasq/v1")) {
    const std::string name = "qmasq/v1/" + entry.path().filename().string();
    const auto* file = pool->FindFileByName(name);
    EXPECT_NE(file, nullptr) << name << " is not linked into this test";
    // The agent's own services are another server's.
    if (file == nullptr || name == "qmasq/v1/agent.proto") continue;
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        out.push_back(file->service(i)->full_name() + "/" + file->service(i)->method(j)->name());
      }
    }
  }
  return out;
}

}  // namespace qmasq::controller::testing
