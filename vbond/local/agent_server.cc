// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/agent_server.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "schema/grpc_status.h"
#include "trust/peer_socket.h"
#include "vbond/local/event_text.h"
#include "vbond/local/shown.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;

constexpr int kMostWatchers = 32;
constexpr trust::PeerSocket::Limits kConnections{256, 16};
// How long a watcher without events takes to notice that it was left.
constexpr milliseconds kPatience{500};
constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

// Removes a socket file that no program listens on any more.
Status make_way(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalidArgument,
                fmt::format("{}: the name of a socket has at most {} characters", path,
                            sizeof address.sun_path - 1));
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Status{} : Status(fail_errno(errno, path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(Code::kAlreadyExists, fmt::format("{} is there and is not a socket", path));
  }
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return fail_errno(errno, "socket");
  if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    return fail(Code::kAlreadyExists,
                fmt::format("another agent listens on {}: stop it, or give this one another "
                            "--socket-dir",
                            path));
  }
  if (errno != ECONNREFUSED) return fail_errno(errno, path);
  if (::unlink(path.c_str()) != 0) return fail_errno(errno, "remove the old " + path);
  return {};
}

// Nobody who is not let in learns more than that.
class Service final : public v1::AgentService::Service {
 public:
  Service(AgentView& view, const EventLog& events, const LocalAccess& access,
          const trust::PeerSocket& socket)
      : view_(view), events_(events), access_(access), socket_(socket) {}

  void stop() { stopping_ = true; }

  grpc::Status GetAgent(grpc::ServerContext* context, const v1::GetAgentRequest* /*request*/,
                        v1::Agent* response) override {
    auto caller = admit(*context, {});
    if (!caller) return to_grpc(caller.error());
    *response = view_.describe();
    if (!caller->sight.all) restrict(caller->sight, *response);
    return grpc::Status::OK;
  }

  grpc::Status GetQos(grpc::ServerContext* context, const v1::GetQosRequest* /*request*/,
                      v1::HostQos* response) override {
    auto caller = admit(*context, {});
    if (!caller) return to_grpc(caller.error());
    *response = view_.qos();
    if (!caller->sight.all) restrict(caller->sight, *response);
    return grpc::Status::OK;
  }

  grpc::Status ListConnections(grpc::ServerContext* context,
                               const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* response) override {
    if (auto status = check_parent(request->parent()); !status) return to_grpc(status.error());
    auto caller = admit(*context, request->parent());
    if (!caller) return to_grpc(caller.error());
    for (auto& connection : view_.connections(request->parent())) {
      if (!caller->sight.sees(connection.endpoint())) continue;
      if (!caller->sight.all) restrict(connection);
      *response->add_connections() = std::move(connection);
    }
    return answer_of_empty(response->connections().empty(), request->parent());
  }

  grpc::Status WatchEvents(grpc::ServerContext* context, const v1::WatchEventsRequest* request,
                           grpc::ServerWriter<v1::Event>* writer) override {
    auto filter = EventFilter::make(*request);
    if (!filter) return to_grpc(filter.error());
    auto caller = admit(*context, request->parent());
    if (!caller) return to_grpc(caller.error());
    Seat seat(watchers_);
    // Users of endpoints leave some to those who run the host.
    const int most = caller->sight.all ? kMostWatchers : kMostWatchers / 2;
    if (seat.number() > most) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("{} programs watch the events already", most)};
    }
    auto shown = [&](const Event& event) {
      return filter->matches(event) && caller->sight.sees(event.endpoint);
    };
    auto write = [&](const Event& event) {
      v1::Event out = to_proto(event);
      if (!caller->sight.all) restrict(out);
      return writer->Write(out);
    };
    auto past = events_.read(0, kAll, milliseconds(0));
    std::uint64_t after = past.empty() ? events_.newest_sequence() : past.back().sequence;
    std::erase_if(past, [&](const Event& event) { return !shown(event); });
    std::size_t skip = 0;
    if (request->limit() != 0 && past.size() > request->limit()) {
      skip = past.size() - request->limit();
    }
    for (std::size_t i = skip; i < past.size(); ++i) {
      if (!write(past[i])) return grpc::Status::OK;
    }
    // One may wait for the first event of an endpoint to come.
    if (!request->follow()) return answer_of_empty(past.empty(), request->parent());
    past.clear();
    while (!stopping_ && !context->IsCancelled()) {
      auto fresh = events_.read(after, 256, kPatience);
      // Endpoints come to and go from their users while we wait.
      caller->sight = access_.sight_of(caller->peer);
      for (const Event& event : fresh) {
        after = event.sequence;
        if (shown(event) && !write(event)) return grpc::Status::OK;
      }
    }
    return grpc::Status::OK;
  }

 private:
  struct Caller {
    LocalPeer peer;
    LocalAccess::Sight sight;
  };

  // Who calls, if they may see anything of `parent`. To one who may not it is not said whether it
  // is there.
  [[nodiscard]] Result<Caller> admit(const grpc::ServerContext& context,
                                     const std::string& parent) const {
    auto known = socket_.find(context.peer());
    if (!known || known->pid <= 0) {
      return fail(Code::kPermissionDenied, "the agent cannot tell which process calls");
    }
    Caller caller{{known->pid, known->uid, known->gid, known->groups}, {}};
    QMASQ_TRY(access_.admit(caller.peer));
    caller.sight = access_.sight_of(caller.peer);
    if (caller.sight.sees_any_of(parent)) return caller;
    return fail(Code::kPermissionDenied,
                fmt::format("{} for {}: root and the group {} see all of this host, users of an "
                            "endpoint what is theirs; an admin makes one with `qmasq endpoint "
                            "update ENDPOINT --user {}`",
                            parent.empty() ? "no endpoint of this host is"
                                           : "'" + parent.substr(0, 200) + "' is not",
                            describe(caller.peer), kAdminGroup, caller.peer.uid));
  }

  // Nothing found is an error when nobody here has the name: it is misspelt, or on another host.
  grpc::Status answer_of_empty(bool empty, const std::string& parent) {
    if (!empty || parent.empty()) return grpc::Status::OK;
    auto known = view_.check_known(parent);
    return known ? grpc::Status::OK : to_grpc(known.error());
  }

  // Counts one watcher for as long as it watches.
  class Seat {
   public:
    explicit Seat(std::atomic<int>& taken) : taken_(taken), number_(++taken) {}
    ~Seat() { --taken_; }
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    [[nodiscard]] int number() const { return number_; }

   private:
    std::atomic<int>& taken_;
    const int number_;
  };

  AgentView& view_;
  const EventLog& events_;
  const LocalAccess& access_;
  const trust::PeerSocket& socket_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> watchers_ = 0;
};

}  // namespace

struct AgentServer::Impl {
  Impl(AgentView& view, const EventLog& events, const LocalAccess& access,
       std::unique_ptr<trust::PeerSocket> listener)
      : socket(std::move(listener)), service(view, events, access, *socket) {}
  std::unique_ptr<trust::PeerSocket> socket;
  Service service;
  std::unique_ptr<grpc::Server> server;
};

AgentServer::AgentServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

AgentServer::~AgentServer() {
  impl_->service.stop();
  impl_->socket->stop();
  impl_->server->Shutdown(std::chrono::system_clock::now() + milliseconds(100));
  impl_->server->Wait();
}

Result<std::unique_ptr<AgentServer>> AgentServer::start(const std::string& socket, AgentView& view,
                                                        const EventLog& events,
                                                        const LocalAccess& access) {
  QMASQ_TRY(make_way(socket));
  // Anybody of the host may ask; who it is, the kernel says.
  QMASQ_ASSIGN(auto listener, trust::PeerSocket::listen(socket, 0666, kConnections));
  auto impl = std::make_unique<Impl>(view, events, access, std::move(listener));
  grpc::ServerBuilder builder;
  // Reading is cheap; a flood of calls must not become a flood of threads.
  grpc::ResourceQuota quota("agent");
  quota.SetMaxThreads(2 * kMostWatchers);
  builder.SetResourceQuota(quota);
  builder.RegisterService(&impl->service);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) {
    return fail(Code::kUnavailable, fmt::format("cannot serve calls on {}", socket));
  }
  impl->socket->serve(*impl->server);
  return std::unique_ptr<AgentServer>(new AgentServer(std::move(impl)));
}

}  // namespace qmasq::vbond
