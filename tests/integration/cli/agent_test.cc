// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/seen_order.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "tests/integration/cli/cli_runner.h"
#include "tests/support/temp_dir.h"

namespace qmasq::cli::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FakeAgentService final : public v1::AgentService::Service {
 public:
  grpc::Status GetAgent(grpc::ServerContext*, const v1::GetAgentRequest*, v1::Agent* out) override {
    SeenOrder order(this);
    *out = agent;
    return grpc::Status::OK;
  }
  grpc::Status ListConnections(grpc::ServerContext*, const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* out) override {
    SeenOrder order(this);
    connections_request = *request;
    *out = connections;
    return grpc::Status::OK;
  }
  grpc::Status WatchEvents(grpc::ServerContext*, const v1::WatchEventsRequest* request,
                           grpc::ServerWriter<v1::Event>* writer) override {
    SeenOrder order(this);
    events_request = *request;
    for (const v1::Event& event : events)
      writer->Write(event);
    return end_of_events;
  }
  v1::Agent agent;
  v1::ListConnectionsRequest connections_request;
  v1::ListConnectionsResponse connections;
  v1::WatchEventsRequest events_request;
  std::vector<v1::Event> events;
  grpc::Status end_of_events;
};

class AgentCommands : public ::testing::Test {
 protected:
  AgentCommands() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + folder_.file("vbond.sock"),
                             grpc::InsecureServerCredentials());
    builder.RegisterService(&agent_);
    server_ = builder.BuildAndStart();
  }
  ~AgentCommands() override { server_->Shutdown(); }
  Ran run(std::vector<std::string> args) {
    args.insert(args.end(), {"--agent-socket-dir", folder_.path()});
    { SeenOrder before(&agent_); }
    Ran ran = run_line(std::move(args));
    SeenOrder after(&agent_);
    return ran;
  }
  void add_event(const std::string& type, const std::string& reason) {
    v1::Event event;
    event.set_sequence(agent_.events.size() + 1);
    *event.mutable_time() = google::protobuf::util::TimeUtil::MillisecondsToTimestamp(1500);
    event.set_type(type);
    event.set_endpoint("vpcs/blue/endpoints/a");
    event.set_verb("MODIFY_QP");
    event.set_errno_name("EHOSTUNREACH");
    event.set_reason(reason);
    event.set_pid(42);
    event.set_command("ib_write_bw");
    agent_.events.push_back(event);
  }
  qmasq::testing::TempDir folder_;
  FakeAgentService agent_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AgentCommands, ConnectionsShowBothSides) {
  auto* c = agent_.connections.add_connections();
  c->set_endpoint("vpcs/blue/endpoints/a");
  c->set_peer_endpoint("vpcs/blue/endpoints/b");
  c->set_transport("rc");
  c->set_state("rts");
  c->set_qpn(17);
  c->set_peer_qpn(0xabcdef);
  c->set_virtual_gid("0000:0000:0000:0000:0000:ffff:0a00:0001");
  c->set_peer_virtual_gid("0000:0000:0000:0000:0000:ffff:0a00:0002");
  c->set_physical_gid("0000:0000:0000:0000:0000:ffff:c000:0201");
  c->set_peer_physical_gid("0000:0000:0000:0000:0000:ffff:c000:0202");
  c->set_nic("rxe0");
  c->set_pid(42);
  c->set_command("ib\033[2Jbw");
  Ran ran = run({"conn", "list", "--endpoint", "blue/a"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(agent_.connections_request.parent(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(ran.out,
            "ENDPOINT  PEER    TRANSPORT  STATE  QPN       PEER-QPN  VIRTUAL-GID  PEER-VIRTUAL  "
            "PHYSICAL   PEER-PHYSICAL  NIC   PID  COMMAND   OPS  RULE\n"
            "blue/a    blue/b  rc         rts    0x000011  0xabcdef  10.0.0.1     10.0.0.2      "
            "192.0.2.1  192.0.2.2      rxe0  42   ib?[2Jbw  -    -\n");
  auto json = nlohmann::json::parse(run({"conn", "list", "--vpc", "blue", "-o", "json"}).out);
  EXPECT_EQ(agent_.connections_request.parent(), "vpcs/blue");
  EXPECT_EQ(json["connections"][0]["peerQpn"], 0xabcdef);
}

TEST_F(AgentCommands, NoConnections) {
  EXPECT_EQ(run({"conn", "list"}).err, "no queue pairs on this host\n");
  EXPECT_EQ(run({"conn", "list", "-o", "json"}).out, "{\n  \"connections\": []\n}\n");
}

TEST_F(AgentCommands, EventsAsTableAndAsLines) {
  add_event("refused", "no endpoint of vpcs/blue has address 10.0.0.9");
  add_event("refused", "two\nlines");
  Ran table =
      run({"events", "--endpoint", "blue/a", "--type", "refused,connected", "--limit", "5"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_EQ(agent_.events_request.parent(), "vpcs/blue/endpoints/a");
  EXPECT_THAT(agent_.events_request.types(), ElementsAre("refused", "connected"));
  EXPECT_EQ(agent_.events_request.limit(), 5U);
  EXPECT_FALSE(agent_.events_request.follow());
  EXPECT_THAT(table.out, HasSubstr("1970-01-01T00:00:01.500Z"));
  EXPECT_THAT(table.out, HasSubstr("no endpoint of vpcs/blue has address 10.0.0.9\n"));
  EXPECT_THAT(table.out, HasSubstr("two?lines\n"));
  Ran lines = run({"events", "--follow", "-o", "json"});
  EXPECT_TRUE(agent_.events_request.follow());
  std::istringstream in(lines.out);
  int count = 0;
  for (std::string line; std::getline(in, line); ++count) {
    EXPECT_EQ(nlohmann::json::parse(line)["errnoName"], "EHOSTUNREACH");
  }
  EXPECT_EQ(count, 2);
}

TEST_F(AgentCommands, EventsThatEndBadlyKeepWhatCame) {
  add_event("connected", "");
  agent_.end_of_events = {grpc::StatusCode::UNAVAILABLE, "the agent stops"};
  Ran ran = run({"events", "--follow"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("connected"));
  EXPECT_THAT(ran.err, HasSubstr("the agent stops"));
}

TEST_F(AgentCommands, NoEvents) {
  EXPECT_EQ(run({"events"}).err, "no events\n");
  EXPECT_EQ(run({"events", "-o", "json"}).out, "");
}

TEST_F(AgentCommands, StatusSaysWhatIsMissing) {
  agent_.agent.set_host("hosts/hostA");
  agent_.agent.set_controller("192.0.2.9:7443");
  agent_.agent.set_last_error("connection refused");
  agent_.agent.add_features("user_notif");
  agent_.agent.add_local_endpoints()->set_name("vpcs/blue/endpoints/a");
  Ran ran = run({"status"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("192.0.2.9:7443, not connected"));
  EXPECT_THAT(ran.out, HasSubstr("last error: connection refused"));
  EXPECT_THAT(ran.out, HasSubstr("not yet in sync"));
  EXPECT_THAT(ran.out, HasSubstr("\nblue/a "));
  auto json = nlohmann::json::parse(run({"agent", "-o", "json"}).out);
  EXPECT_EQ(json["localEndpoints"].size(), 1U);
}

}  // namespace
}  // namespace qmasq::cli::testing
