// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/agent_server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "common/unique_fd.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FakeView final : public AgentView {
 public:
  v1::Agent describe() override {
    v1::Agent out;
    out.set_host("hosts/hostA");
    out.set_guard("off");
    return out;
  }
  std::vector<v1::Connection> connections(const std::string& parent) override {
    if (parent == "vpcs/quiet" || parent == "vpcs/unknown") return {};
    v1::Connection one;
    one.set_endpoint(parent);
    return {one};
  }
  v1::HostQos qos() override {
    v1::HostQos out;
    out.set_host("hosts/hostA");
    out.add_nics()->set_device("rxe0");
    return out;
  }
  Status check_known(const std::string& parent) override {
    if (parent == "vpcs/unknown") return fail(Code::kNotFound, "nobody knows vpcs/unknown");
    return {};
  }
};

class AgentServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/qmasq-local-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    socket_ = directory_ + "/vbond.sock";
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::unique_ptr<v1::AgentService::Stub> stub() {
    return v1::AgentService::NewStub(
        grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
  }
  void record(EventType type, const std::string& endpoint) {
    Event event;
    event.type = type;
    event.endpoint = endpoint;
    events_.record(std::move(event));
  }
  std::vector<std::string> watch(const v1::WatchEventsRequest& request) {
    grpc::ClientContext context;
    auto reader = stub()->WatchEvents(&context, request);
    std::vector<std::string> out;
    v1::Event event;
    while (reader->Read(&event))
      out.push_back(event.endpoint());
    EXPECT_TRUE(reader->Finish().ok());
    return out;
  }

  Result<std::unique_ptr<AgentServer>> start(const std::string& path) {
    return AgentServer::start(path, view_, events_, access_);
  }

  std::string directory_;
  std::string socket_;
  SystemClock clock_;
  conntrack::GroupSets sets_;
  PeerMap peers_{sets_};
  SyncState sync_;
  EndpointTable endpoints_{peers_, sync_};
  // Whoever runs this is in the group qmasq, and no tenant unless a test says so.
  bool tenant_ = false;
  LocalAccess access_{
      endpoints_,
      sync_,
      {[this](pid_t) { return tenant_; }, [] { return std::optional(::getgid()); }}};
  EventLog events_{clock_, 100};
  FakeView view_;
};

TEST_F(AgentServerTest, AnswersOnASocketThatAllMayAsk) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(socket_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0666U);
  grpc::ClientContext context;
  v1::Agent agent;
  ASSERT_TRUE(stub()->GetAgent(&context, {}, &agent).ok());
  EXPECT_EQ(agent.host(), "hosts/hostA");
  server->reset();
  EXPECT_NE(::stat(socket_.c_str(), &info), 0) << "the socket file goes with the server";
}

TEST_F(AgentServerTest, TellsHowLimitsStand) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  grpc::ClientContext context;
  v1::HostQos qos;
  ASSERT_TRUE(stub()->GetQos(&context, {}, &qos).ok());
  EXPECT_EQ(qos.host(), "hosts/hostA");
  ASSERT_EQ(qos.nics_size(), 1);
  EXPECT_EQ(qos.nics(0).device(), "rxe0");
}

TEST_F(AgentServerTest, ListsConnectionsOfAParent) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  v1::ListConnectionsRequest request;
  request.set_parent("vpcs/blue");
  v1::ListConnectionsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub()->ListConnections(&context, request, &response).ok());
  EXPECT_EQ(response.connections(0).endpoint(), "vpcs/blue");
  request.set_parent("blue");
  grpc::ClientContext second;
  auto status = stub()->ListConnections(&second, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("parent"));
}

TEST_F(AgentServerTest, TellsAnUnknownNameFromOneWithNothingToShow) {
  auto server = start(socket_);
  ASSERT_TRUE(server) << server.error().message;
  for (auto [parent, code] : {std::pair("vpcs/quiet", grpc::StatusCode::OK),
                              std::pair("vpcs/unknown", grpc::StatusCode::NOT_FOUND)}) {
    grpc::ClientContext list_context;
    v1::ListConnectionsRequest list;
    list.set_parent(parent);
    v1::ListConnectionsResponse response;
    EXPECT_EQ(stub()->ListConnections(&list_context, list, &response).error_code(), code);
    grpc::ClientContext watch_context;
    v1::WatchEventsRequest watch;
    watch.set_parent(parent);
    auto stream = stub()->WatchEvents(&watch_context, watch);
    v1::Event event;
    EXPECT_FALSE(stream->Read(&event));
    EXPECT_EQ(stream->Finish().error_code(), code) << parent;
  }
}

TEST_F(AgentServerTest, GivesTheNewestPastEvents) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  record(EventType::kRefused, "vpcs/blue/endpoints/a");
  record(EventType::kRefused, "vpcs/red/endpoints/x");
  record(EventType::kConnected, "vpcs/blue/endpoints/b");
  record(EventType::kRefused, "vpcs/blue/endpoints/c");
  v1::WatchEventsRequest request;
  EXPECT_EQ(watch(request).size(), 4U);
  request.set_parent("vpcs/blue");
  request.add_types("refused");
  EXPECT_THAT(watch(request), ElementsAre("vpcs/blue/endpoints/a", "vpcs/blue/endpoints/c"));
  request.set_limit(1);
  EXPECT_THAT(watch(request), ElementsAre("vpcs/blue/endpoints/c"));
}

TEST_F(AgentServerTest, FollowsAndEndsWithTheServer) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  record(EventType::kSync, "vpcs/blue/endpoints/old");
  v1::WatchEventsRequest request;
  request.set_follow(true);
  grpc::ClientContext context;
  auto client = stub();
  auto reader = client->WatchEvents(&context, request);
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.endpoint(), "vpcs/blue/endpoints/old");
  record(EventType::kSync, "vpcs/blue/endpoints/new");
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.endpoint(), "vpcs/blue/endpoints/new");
  server->reset();
  EXPECT_FALSE(reader->Read(&event));
  (void)reader->Finish();
}

TEST_F(AgentServerTest, SendsTheThirtyThirdWatcherAway) {
  auto server = start(socket_);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  record(EventType::kSync, "vpcs/blue/endpoints/a");
  auto client = stub();
  v1::WatchEventsRequest request;
  request.set_follow(true);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::Event>>> readers;
  v1::Event event;
  for (int i = 0; i < 32; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(client->WatchEvents(contexts.back().get(), request));
    ASSERT_TRUE(readers.back()->Read(&event)) << i;
  }
  grpc::ClientContext context;
  auto last = client->WatchEvents(&context, request);
  EXPECT_FALSE(last->Read(&event));
  EXPECT_EQ(last->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  grpc::ClientContext other;
  v1::Agent agent;
  EXPECT_TRUE(client->GetAgent(&other, {}, &agent).ok()) << "watchers do not crowd out the rest";
  for (auto& one : contexts)
    one->TryCancel();
  for (auto& one : readers) {
    while (one->Read(&event)) {
    }
    (void)one->Finish();
  }
}

TEST_F(AgentServerTest, TellsProgramsOfTenantsNothing) {
  auto server = start(socket_);
  ASSERT_TRUE(server) << server.error().message;
  record(EventType::kRefused, "vpcs/blue/endpoints/a");
  tenant_ = true;
  auto client = stub();
  grpc::ClientContext agent_context;
  v1::Agent agent;
  EXPECT_EQ(client->GetAgent(&agent_context, {}, &agent).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  grpc::ClientContext qos_context;
  v1::HostQos qos;
  EXPECT_EQ(client->GetQos(&qos_context, {}, &qos).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  grpc::ClientContext list_context;
  v1::ListConnectionsResponse connections;
  auto status = client->ListConnections(&list_context, {}, &connections);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("qmasq run"));
  grpc::ClientContext watch_context;
  auto reader = client->WatchEvents(&watch_context, {});
  v1::Event event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(AgentServerTest, ReplacesASocketThatNobodyListensOn) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(socket_.begin(), socket_.end(), address.sun_path);
  {
    UniqueFd old(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(old.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_TRUE(start(socket_).has_value());
}

TEST_F(AgentServerTest, LeavesTheSocketOfAnotherAgentAlone) {
  auto first = start(socket_);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  auto second = start(socket_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_THAT(second.error().message, HasSubstr("another agent listens on " + socket_));
}

TEST_F(AgentServerTest, SaysWhatIsWrongWithThePath) {
  auto missing = start(directory_ + "/none/vbond.sock");
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().message, HasSubstr("directory"));
  auto longer = start(directory_ + "/" + std::string(200, 'x'));
  ASSERT_FALSE(longer.has_value());
  EXPECT_THAT(longer.error().message, HasSubstr("at most 107 characters"));
  EXPECT_FALSE(start("/etc/passwd").has_value());
}

}  // namespace
}  // namespace qmasq::vbond
