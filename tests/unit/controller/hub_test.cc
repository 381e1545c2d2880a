// SPDX-License-Identifier: Apache-2.0
// The hub with fake streams and a clock turned by hand: protocol, permutations, rollouts.
#include "controller/watch/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <deque>

#include "controller/metrics.h"
#include "tests/support/manual_clock.h"
#include "tests/unit/controller/watch_model.h"

namespace qmasq::controller {
namespace {

using testing::AgentModel;
using testing::RandomCloud;
using testing::scope_of;
using State = RolloutState::OneHost::State;
using namespace std::chrono_literals;

// A stream end: holds at most one message, like a reactor with one write under way.
struct FakePeer : SyncPeer {
  void send(v1::SyncResponse message) override {
    ASSERT_FALSE(message_.has_value()) << "a second write before the first was done";
    message_ = std::move(message);
  }
  void close(Error reason) override { closed = std::move(reason); }
  std::optional<v1::SyncResponse> message_;
  std::optional<Error> closed;
};

class HubTest : public ::testing::Test {
 protected:
  HubTest() : metrics_(registry_), hub_({"store", 5000ms, 100'000}, clock_, board_, metrics_) {}

  struct Stream {
    PeerId id = 0;
    std::shared_ptr<FakePeer> peer = std::make_shared<FakePeer>();
  };
  Stream connect(HostUid host, const v1::Hello& hello) {
    Stream stream;
    stream.id = ++last_id_;
    hub_.attach(stream.id, stream.peer, host, hello);
    return stream;
  }
  // Takes the message that waits, if any, and lets the stream write on.
  std::optional<v1::SyncResponse> take(Stream& stream) {
    auto message = std::exchange(stream.peer->message_, std::nullopt);
    if (message) hub_.written(stream.id);
    return message;
  }
  void ack(const Stream& stream, Revision revision) {
    v1::SyncRequest request;
    request.mutable_ack()->set_revision(revision.value);
    hub_.message(stream.id, request);
  }
  void reject(const Stream& stream, Revision revision, const std::string& reason) {
    v1::SyncRequest request;
    request.mutable_reject()->set_revision(revision.value);
    request.mutable_reject()->set_reason(reason);
    hub_.message(stream.id, request);
  }
  void heartbeat(const Stream& stream) {
    v1::SyncRequest request;
    request.mutable_heartbeat();
    hub_.message(stream.id, request);
  }
  // Reads and acknowledges until nothing comes any more. Gives the last InSync.
  std::optional<Revision> drain(Stream& stream, AgentModel& agent) {
    std::optional<Revision> in_sync;
    while (auto message = take(stream)) {
      if (message->has_in_sync()) in_sync = Revision{message->in_sync().revision()};
      if (!message->has_batch()) continue;
      agent.take(message->batch());
      if (!message->batch().more()) ack(stream, agent.revision());
    }
    return in_sync;
  }

  // host 1 and 2 in VPC 10; endpoint 100 on host 1, 101 on host 2.
  void two_hosts() {
    Commit all;
    all.revision = Revision{4};
    for (std::uint64_t i = 1; i <= 2; ++i) {
      Host host;
      host.uid = HostUid{i};
      host.id = "h" + std::to_string(i);
      host.joined = true;
      host.revision = Revision{i};
      hosts_[i] = std::make_shared<const Host>(host);
      all.hosts.push_back({nullptr, hosts_[i]});
    }
    Vpc vpc;
    vpc.uid = VpcUid{10};
    vpc.revision = Revision{3};
    vpc_ = std::make_shared<const Vpc>(vpc);
    all.vpcs.push_back({nullptr, vpc_});
    for (std::uint64_t i = 1; i <= 2; ++i) {
      Endpoint endpoint;
      endpoint.uid = EndpointUid{99 + i};
      endpoint.vpc = vpc.uid;
      endpoint.host = HostUid{i};
      endpoint.revision = Revision{4};
      endpoints_[i] = std::make_shared<const Endpoint>(endpoint);
      all.endpoints.push_back({nullptr, endpoints_[i]});
    }
    hub_.load(all, Revision{4}, {});
  }
  Commit touch_vpc() {
    Vpc vpc = *vpc_;
    vpc.revision = Revision{hub_.world().revision().value + 1};
    auto before = vpc_;
    vpc_ = std::make_shared<const Vpc>(vpc);
    return {vpc.revision, {{before, vpc_}}, {}, {}};
  }
  Commit elsewhere() {
    Vpc vpc;
    vpc.uid = VpcUid{1000 + ++last_id_};
    vpc.revision = Revision{hub_.world().revision().value + 1};
    return {vpc.revision, {{nullptr, std::make_shared<const Vpc>(vpc)}}, {}, {}};
  }
  static v1::Hello fresh() {
    v1::Hello hello;
    hello.set_protocol_version(3);
    return hello;
  }

  qmasq::testing::ManualClock clock_;
  prometheus::Registry registry_;
  ControllerMetrics metrics_;
  StatusBoard board_;
  Hub hub_;
  PeerId last_id_ = 0;
  std::map<std::uint64_t, HostPtr> hosts_;
  std::map<std::uint64_t, EndpointPtr> endpoints_;
  VpcPtr vpc_;
};

TEST_F(HubTest, AFreshAgentGetsWelcomeSnapshotAndInSync) {
  two_hosts();
  auto stream = connect(HostUid{1}, fresh());
  auto welcome = take(stream);
  ASSERT_TRUE(welcome && welcome->has_welcome());
  EXPECT_EQ(welcome->welcome().store_id(), "store");
  EXPECT_EQ(welcome->welcome().host_uid(), 1U);
  EXPECT_EQ(welcome->welcome().heartbeat_interval_ms(), 5000U);
  auto batch = take(stream);
  ASSERT_TRUE(batch && batch->has_batch());
  EXPECT_TRUE(batch->batch().snapshot());
  EXPECT_EQ(batch->batch().revision(), 4U);
  EXPECT_EQ(batch->batch().vpcs_size(), 1);
  EXPECT_EQ(batch->batch().endpoints_size(), 2);
  EXPECT_EQ(batch->batch().hosts_size(), 2);
  EXPECT_FALSE(take(stream)) << "InSync waits for the acknowledgement";
  ack(stream, Revision{4});
  auto in_sync = take(stream);
  ASSERT_TRUE(in_sync && in_sync->has_in_sync());
  EXPECT_EQ(in_sync->in_sync().revision(), 4U);
  EXPECT_FALSE(take(stream));
  EXPECT_EQ(board_.host(HostUid{1})->applied.value, 4U);
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOnline);
}

TEST_F(HubTest, MetricsFollowEveryCommit) {
  two_hosts();
  auto value = [this](const std::string& name, const std::string& kind) {
    for (const auto& family : registry_.Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        if (kind.empty() || (!metric.label.empty() && metric.label[0].value == kind))
          return metric.gauge.value;
      }
    }
    return -1.0;
  };
  EXPECT_EQ(value("qmasq_controller_revision", ""), 4);
  EXPECT_EQ(value("qmasq_controller_objects", "vpc"), 1);
  hub_.commit(elsewhere());
  EXPECT_EQ(value("qmasq_controller_revision", ""), 5);
  EXPECT_EQ(value("qmasq_controller_objects", "vpc"), 2);
}

TEST_F(HubTest, NothingMissedIsWelcomeAndInSync) {
  two_hosts();
  AgentModel agent;
  auto first = connect(HostUid{1}, fresh());
  drain(first, agent);
  hub_.detach(first.id);
  hub_.commit(elsewhere());
  auto stream = connect(HostUid{1}, agent.hello("store", "hosts/h1"));
  EXPECT_TRUE(take(stream)->has_welcome());
  auto next = take(stream);
  ASSERT_TRUE(next && next->has_in_sync());
  EXPECT_EQ(next->in_sync().revision(), 5U);
}

TEST_F(HubTest, AnotherStoreOrAFutureRevisionMeansASnapshot) {
  two_hosts();
  AgentModel agent;
  auto first = connect(HostUid{1}, fresh());
  drain(first, agent);
  for (int round = 0; round < 2; ++round) {
    auto hello = agent.hello(round == 0 ? "another" : "store", "hosts/h1");
    if (round == 1) hello.set_held_revision(999);
    auto stream = connect(HostUid{1}, hello);
    EXPECT_TRUE(take(stream)->has_welcome());
    auto batch = take(stream);
    ASSERT_TRUE(batch && batch->has_batch());
    EXPECT_TRUE(batch->batch().snapshot());
  }
}

// What comes of a question, for the tests below.
struct Heard {
  std::vector<v1::Answer> answers;
  Hub::AnswerDone listener() {
    return [this](v1::Answer answer) { answers.push_back(std::move(answer)); };
  }
};

TEST_F(HubTest, AQuestionIsAnsweredByTheAgentItWasFor) {
  two_hosts();
  AgentModel agents[2];
  Stream streams[2] = {connect(HostUid{1}, fresh()), connect(HostUid{2}, fresh())};
  for (int i = 0; i < 2; ++i)
    drain(streams[i], agents[i]);
  Heard heard;
  hub_.ask(HostUid{1}, {}, 2000ms, heard.listener());
  auto asked = take(streams[0]);
  ASSERT_TRUE(asked && asked->has_query());
  EXPECT_FALSE(take(streams[1]));
  v1::SyncRequest reply;
  reply.mutable_answer()->set_query_id(asked->query().id());
  reply.mutable_answer()->set_held_revision(4);
  hub_.message(streams[1].id, reply);  // not the one that was asked
  EXPECT_TRUE(heard.answers.empty());
  reply.mutable_answer()->set_query_id(asked->query().id() + 1);
  hub_.message(streams[0].id, reply);  // no such question
  EXPECT_TRUE(heard.answers.empty());
  reply.mutable_answer()->set_query_id(asked->query().id());
  hub_.message(streams[0].id, reply);
  hub_.message(streams[0].id, reply);  // twice
  ASSERT_EQ(heard.answers.size(), 1U);
  EXPECT_EQ(heard.answers[0].error(), "");
  EXPECT_EQ(heard.answers[0].held_revision(), 4U);
}

TEST_F(HubTest, AQuestionThatNobodyAnswersEnds) {
  two_hosts();
  Heard heard;
  hub_.ask(HostUid{1}, {}, 2000ms, heard.listener());
  ASSERT_EQ(heard.answers.size(), 1U);
  EXPECT_EQ(heard.answers[0].error(), "its agent is not connected");

  AgentModel agent;
  auto stream = connect(HostUid{1}, fresh());
  drain(stream, agent);
  hub_.ask(HostUid{1}, {}, 2000ms, heard.listener());
  auto asked = take(stream);
  clock_.advance(1900ms);
  hub_.tick();
  EXPECT_EQ(heard.answers.size(), 1U);
  clock_.advance(200ms);
  hub_.tick();
  ASSERT_EQ(heard.answers.size(), 2U);
  EXPECT_EQ(heard.answers[1].error(), "no answer in time");
  v1::SyncRequest late;
  late.mutable_answer()->set_query_id(asked->query().id());
  hub_.message(stream.id, late);
  EXPECT_EQ(heard.answers.size(), 2U);

  hub_.ask(HostUid{1}, {}, 2000ms, heard.listener());
  hub_.detach(stream.id);
  ASSERT_EQ(heard.answers.size(), 3U);
  EXPECT_NE(heard.answers[2].error(), "");
}

TEST_F(HubTest, QuestionsDoNotPileUpBehindASlowAgent) {
  two_hosts();
  AgentModel agent;
  auto stream = connect(HostUid{1}, fresh());
  drain(stream, agent);
  Heard heard;
  int asked = 0;
  while (heard.answers.empty() && asked < 100) {
    hub_.ask(HostUid{1}, {}, 2000ms, heard.listener());
    ++asked;
  }
  EXPECT_EQ(asked, 34);  // one is being written, 32 wait
  EXPECT_EQ(heard.answers.back().error(), "its agent is busy with others");
  // State goes on between them.
  hub_.commit(touch_vpc());
  bool batch = false;
  while (auto message = take(stream))
    batch = batch || message->has_batch();
  EXPECT_TRUE(batch);
}

TEST_F(HubTest, ASecondStreamOfAHostEndsTheFirst) {
  two_hosts();
  auto first = connect(HostUid{1}, fresh());
  auto second = connect(HostUid{1}, fresh());
  ASSERT_TRUE(first.peer->closed);
  EXPECT_EQ(first.peer->closed->code, Code::kAborted);
  EXPECT_FALSE(second.peer->closed);
  // What still comes of the first does no harm.
  hub_.written(first.id);
  ack(first, Revision{4});
  hub_.detach(first.id);
  AgentModel agent;
  EXPECT_TRUE(drain(second, agent));
}

TEST_F(HubTest, ASlowAgentGetsEverythingSinceInOneBatch) {
  two_hosts();
  AgentModel agent;
  auto stream = connect(HostUid{1}, fresh());
  drain(stream, agent);
  hub_.commit(touch_vpc());
  ASSERT_TRUE(stream.peer->message_);  // written, not taken
  for (int i = 0; i < 1000; ++i)
    hub_.commit(touch_vpc());
  auto first = take(stream);
  EXPECT_EQ(first->batch().revision(), 5U);
  EXPECT_FALSE(take(stream)) << "one batch until it is acknowledged";
  ack(stream, Revision{5});
  auto rest = take(stream);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->batch().revision(), 1005U);
  EXPECT_EQ(rest->batch().vpcs_size(), 1);
  ack(stream, Revision{1005});
  EXPECT_FALSE(take(stream));
}

TEST_F(HubTest, ChangesElsewhereComeAsCoalescedInSync) {
  two_hosts();
  AgentModel agent;
  auto stream = connect(HostUid{1}, fresh());
  ASSERT_EQ(drain(stream, agent), Revision{4});
  for (int i = 0; i < 100; ++i)
    hub_.commit(elsewhere());
  EXPECT_FALSE(take(stream));
  clock_.advance(1s);
  hub_.tick();
  auto message = take(stream);
  ASSERT_TRUE(message && message->has_in_sync());
  EXPECT_EQ(message->in_sync().revision(), 104U);
  EXPECT_EQ(board_.host(HostUid{1})->applied.value, 104U);
  hub_.tick();
  EXPECT_FALSE(take(stream));
}

TEST_F(HubTest, ARejectIsKeptAndTriedAgainAsASnapshot) {
  two_hosts();
  AgentModel agent;
  auto stream = connect(HostUid{1}, fresh());
  drain(stream, agent);
  hub_.commit(touch_vpc());
  ASSERT_TRUE(take(stream)->has_batch());
  reject(stream, Revision{5}, "no room");
  EXPECT_EQ(board_.host(HostUid{1})->rejected.value, 5U);
  EXPECT_EQ(board_.host(HostUid{1})->reject_reason, "no room");
  EXPECT_EQ(board_.host(HostUid{1})->applied.value, 4U);
  hub_.tick();
  EXPECT_FALSE(take(stream)) << "not at once";
  hub_.commit(touch_vpc());
  clock_.advance(1s);
  heartbeat(stream);
  hub_.tick();
  auto again = take(stream);
  ASSERT_TRUE(again && again->has_batch());
  EXPECT_TRUE(again->batch().snapshot());
  EXPECT_EQ(again->batch().revision(), 6U);
  ack(stream, Revision{6});
  EXPECT_EQ(board_.host(HostUid{1})->rejected.value, 0U);
  EXPECT_EQ(board_.host(HostUid{1})->applied.value, 6U);
}

TEST_F(HubTest, AHostIsOfflineAfterThreeMissedHeartbeats) {
  two_hosts();
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOffline);
  auto stream = connect(HostUid{1}, fresh());
  for (int i = 0; i < 10; ++i) {
    clock_.advance(10s);
    heartbeat(stream);
    hub_.tick();
    ASSERT_EQ(board_.host(HostUid{1})->state, LiveState::kOnline);
  }
  clock_.advance(15s);
  hub_.tick();
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOnline);
  clock_.advance(1ms);
  hub_.tick();
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOffline);
  ASSERT_TRUE(stream.peer->closed);
  EXPECT_EQ(stream.peer->closed->code, Code::kDeadlineExceeded);
}

TEST_F(HubTest, AStreamThatEndsLeavesItsHostOnlineForAWhile) {
  two_hosts();
  auto stream = connect(HostUid{1}, fresh());
  hub_.detach(stream.id);
  clock_.advance(14s);
  hub_.tick();
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOnline);
  clock_.advance(2s);
  hub_.tick();
  EXPECT_EQ(board_.host(HostUid{1})->state, LiveState::kOffline);
}

TEST_F(HubTest, AHostSpeaksOnlyOfItsOwnEndpoints) {
  two_hosts();
  auto stream = connect(HostUid{1}, fresh());
  v1::SyncRequest request;
  auto* report = request.mutable_endpoint_report();
  report->mutable_status()->set_state(v1::EndpointStatus::BOUND);
  report->mutable_status()->set_message(std::string(10'000, 'x'));
  report->set_endpoint_uid(100);
  hub_.message(stream.id, request);
  report->set_endpoint_uid(101);
  hub_.message(stream.id, request);
  report->set_endpoint_uid(5555);
  hub_.message(stream.id, request);
  ASSERT_TRUE(board_.endpoint(EndpointUid{100}));
  EXPECT_EQ(board_.endpoint(EndpointUid{100})->state, BindState::kBound);
  EXPECT_LE(board_.endpoint(EndpointUid{100})->message.size(), 1024U);
  EXPECT_EQ(board_.endpoint(EndpointUid{101})->state, BindState::kUnspecified) << "not its own";
  EXPECT_FALSE(board_.endpoint(EndpointUid{5555}));
  // Gone with the endpoint.
  hub_.commit({Revision{5}, {}, {{endpoints_[1], nullptr}}, {}});
  EXPECT_FALSE(board_.endpoint(EndpointUid{100}));
}

TEST_F(HubTest, ADeletedHostsStreamEnds) {
  two_hosts();
  auto stream = connect(HostUid{2}, fresh());
  hub_.commit({Revision{5}, {}, {{endpoints_[2], nullptr}}, {{hosts_[2], nullptr}}});
  ASSERT_TRUE(stream.peer->closed);
  EXPECT_EQ(stream.peer->closed->code, Code::kUnavailable);
  EXPECT_FALSE(board_.host(HostUid{2}));
  auto late = connect(HostUid{2}, fresh());
  ASSERT_TRUE(late.peer->closed);
}

TEST_F(HubTest, ARolloutWaitsForThoseItConcerns) {
  two_hosts();
  AgentModel agents[3];
  Stream streams[3];
  for (std::uint64_t i = 1; i <= 2; ++i) {
    streams[i] = connect(HostUid{i}, fresh());
    drain(streams[i], agents[i]);
  }
  hub_.commit(touch_vpc());
  std::optional<RolloutState> done;
  hub_.wait_rollout(1, Revision{5}, 10s, [&](RolloutState s) { done = std::move(s); });
  EXPECT_FALSE(done);
  drain(streams[1], agents[1]);
  EXPECT_FALSE(done);
  drain(streams[2], agents[2]);
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->complete);
  EXPECT_EQ(done->hosts.size(), 2U);
  // What concerns nobody is complete at once.
  hub_.commit(elsewhere());
  done.reset();
  hub_.wait_rollout(2, Revision{6}, 10s, [&](RolloutState s) { done = std::move(s); });
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->complete);
  EXPECT_TRUE(done->hosts.empty());
}

TEST_F(HubTest, ARolloutSaysWhoDidNot) {
  two_hosts();
  AgentModel agent;
  auto one = connect(HostUid{1}, fresh());
  drain(one, agent);
  hub_.commit(touch_vpc());
  std::optional<RolloutState> done;
  hub_.wait_rollout(1, Revision{5}, 2s, [&](RolloutState s) { done = std::move(s); });
  clock_.advance(2s);
  hub_.tick();
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->complete);
  ASSERT_EQ(done->hosts.size(), 2U);
  EXPECT_EQ(done->hosts[0].state, State::kPending);
  EXPECT_EQ(done->hosts[1].state, State::kOffline);

  done.reset();
  hub_.wait_rollout(2, Revision{5}, 100s, [&](RolloutState s) { done = std::move(s); });
  EXPECT_FALSE(done);
  ASSERT_TRUE(take(one)->has_batch());
  reject(one, Revision{5}, "no room");
  ASSERT_TRUE(done);
  EXPECT_EQ(done->hosts[0].state, State::kRejected);
  EXPECT_EQ(done->hosts[0].reason, "no room");
}

TEST_F(HubTest, ARolloutConcernsTheHostThatAnEndpointLeft) {
  two_hosts();
  AgentModel agent;
  auto two = connect(HostUid{2}, fresh());
  drain(two, agent);
  hub_.commit({Revision{5}, {}, {{endpoints_[2], nullptr}}, {}});
  std::optional<RolloutState> done;
  hub_.wait_rollout(1, Revision{5}, 0s, [&](RolloutState s) { done = std::move(s); });
  ASSERT_TRUE(done);
  EXPECT_EQ(done->hosts.size(), 2U);
  drain(two, agent);
  EXPECT_EQ(agent.held(), testing::Held{});
}

// Random changes, several hosts, and at any point: reading, answering, rejecting, breaking off in
// the middle of a batch, reconnecting, losing everything, or a controller that starts anew.
TEST_F(HubTest, AgentsEndWhereTheyShouldWhateverHappens) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    RandomCloud cloud(seed, 3, 3, 8);
    auto hub = std::make_unique<Hub>(Hub::Options{"store", 5000ms, 60}, clock_, board_, metrics_);
    hub->load(cloud.all(), cloud.revision(), {});
    struct Agent {
      HostUid host;
      AgentModel model;
      std::shared_ptr<FakePeer> peer;
      PeerId id = 0;
    };
    std::vector<Agent> agents(3);
    for (unsigned i = 0; i < 3; ++i)
      agents[i].host = cloud.host(i);
    auto connect_agent = [&](Agent& agent) {
      if (agent.peer) hub->detach(agent.id);
      agent.model.disconnect();
      agent.peer = std::make_shared<FakePeer>();
      agent.id = ++last_id_;
      hub->attach(agent.id, agent.peer, agent.host, agent.model.hello("store", "hosts/h"));
    };
    auto read_one = [&](Agent& agent, bool may_reject) {
      if (!agent.peer || !agent.peer->message_) return false;
      auto message = *std::exchange(agent.peer->message_, std::nullopt);
      hub->written(agent.id);
      if (!message.has_batch()) return true;
      v1::SyncRequest answer;
      if (may_reject && cloud.random(15) == 0) {
        agent.model.disconnect();
        answer.mutable_reject()->set_revision(message.batch().revision());
        // What was under way when the reject went out is not applied either.
        agent.peer->message_.reset();
        hub->message(agent.id, answer);
        hub->written(agent.id);
        return true;
      }
      agent.model.take(message.batch());
      if (!message.batch().more()) {
        answer.mutable_ack()->set_revision(message.batch().revision());
        hub->message(agent.id, answer);
      }
      return true;
    };
    for (int step = 0; step < 400; ++step) {
      Agent& agent = agents[cloud.random(3)];
      switch (cloud.random(12)) {
        case 0:
          connect_agent(agent);
          break;
        case 1:
          if (cloud.random(5) == 0) agent.model.restart();
          connect_agent(agent);
          break;
        case 2:
          if (cloud.random(4) != 0) break;
          // The controller starts anew, with a log that does not reach back.
          hub = std::make_unique<Hub>(Hub::Options{"store", 5000ms, 60}, clock_, board_, metrics_);
          hub->load(cloud.all(), cloud.revision(), {});
          for (auto& a : agents)
            a.peer.reset();
          break;
        case 3:
        case 4:
        case 5:
          hub->commit(cloud.change());
          break;
        default:
          read_one(agent, true);
      }
    }
    for (int round = 0; round < 3; ++round) {
      for (auto& agent : agents) {
        if (!agent.peer) connect_agent(agent);
        while (read_one(agent, false)) {
        }
      }
      clock_.advance(2s);
      hub->tick();
    }
    clock_.advance(31s);
    for (auto& agent : agents)
      connect_agent(agent);
    for (auto& agent : agents) {
      while (read_one(agent, false)) {
      }
      ASSERT_EQ(agent.model.held(), scope_of(hub->world(), agent.host)) << "seed " << seed;
      EXPECT_EQ(board_.host(agent.host)->applied, hub->world().revision());
    }
  }
}

}  // namespace
}  // namespace qmasq::controller
