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
#include "vbond/local/event_text.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;

constexpr int kMostWatchers = 32;
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

class Service final : public v1::AgentService::Service {
 public:
  Service(AgentView& view, const EventLog& events) : view_(view), events_(events) {}

  void stop() { stopping_ = true; }

  grpc::Status GetAgent(grpc::ServerContext* /*context*/, const v1::GetAgentRequest* /*request*/,
                        v1::Agent* response) override {
    *response = view_.describe();
    return grpc::Status::OK;
  }

  grpc::Status GetQos(grpc::ServerContext* /*context*/, const v1::GetQosRequest* /*request*/,
                      v1::HostQos* response) override {
    *response = view_.qos();
    return grpc::Status::OK;
  }

  grpc::Status ListConnections(grpc::ServerContext* /*context*/,
                               const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* response) override {
    if (auto status = check_parent(request->parent()); !status) return to_grpc(status.error());
    for (auto& connection : view_.connections(request->parent())) {
      *response->add_connections() = std::move(connection);
    }
    return answer_of_empty(response->connections().empty(), request->parent());
  }

  grpc::Status WatchEvents(grpc::ServerContext* context, const v1::WatchEventsRequest* request,
                           grpc::ServerWriter<v1::Event>* writer) override {
    auto filter = EventFilter::make(*request);
    if (!filter) return to_grpc(filter.error());
    Seat seat(watchers_);
    if (seat.number() > kMostWatchers) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("{} programs watch the events already", kMostWatchers)};
    }
    auto past = events_.read(0, kAll, milliseconds(0));
    std::uint64_t after = past.empty() ? events_.newest_sequence() : past.back().sequence;
    std::erase_if(past, [&](const Event& event) { return !filter->matches(event); });
    std::size_t skip = 0;
    if (request->limit() != 0 && past.size() > request->limit()) {
      skip = past.size() - request->limit();
    }
    for (std::size_t i = skip; i < past.size(); ++i) {
      if (!writer->Write(to_proto(past[i]))) return grpc::Status::OK;
    }
    // One may wait for the first event of an endpoint to come.
    if (!request->follow()) return answer_of_empty(past.empty(), request->parent());
    past.clear();
    while (!stopping_ && !context->IsCancelled()) {
      for (const Event& event : events_.read(after, 256, kPatience)) {
        after = event.sequence;
        if (filter->matches(event) && !writer->Write(to_proto(event))) return grpc::Status::OK;
      }
    }
    return grpc::Status::OK;
  }

 private:
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
  std::atomic<bool> stopping_ = false;
  std::atomic<int> watchers_ = 0;
};

}  // namespace

struct AgentServer::Impl {
  Impl(AgentView& view, const EventLog& events, std::string path)
      : service(view, events), socket(std::move(path)) {}
  Service service;
  const std::string socket;
  std::unique_ptr<grpc::Server> server;
};

AgentServer::AgentServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

AgentServer::~AgentServer() {
  impl_->service.stop();
  impl_->server->Shutdown(std::chrono::system_clock::now() + milliseconds(100));
  impl_->server->Wait();
  ::unlink(impl_->socket.c_str());
}

Result<std::unique_ptr<AgentServer>> AgentServer::start(const std::string& socket, AgentView& view,
                                                        const EventLog& events) {
  QMASQ_TRY(make_way(socket));
  auto impl = std::make_unique<Impl>(view, events, socket);
  grpc::ServerBuilder builder;
  // Reading is cheap; a flood of calls must not become a flood of threads.
  grpc::ResourceQuota quota("agent");
  quota.SetMaxThreads(2 * kMostWatchers);
  builder.SetResourceQuota(quota);
  // Without it a second agent would listen beside the first.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  int bound = 0;
  builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials(), &bound);
  builder.RegisterService(&impl->service);
  // Nobody else may have connected before chmod: the mode counts from bind() on.
  mode_t before = ::umask(0117);
  impl->server = builder.BuildAndStart();
  ::umask(before);
  if (impl->server == nullptr || bound == 0) {
    return fail(Code::kUnavailable,
                fmt::format("cannot listen on {}: is its directory there, and may we write to it?",
                            socket));
  }
  return std::unique_ptr<AgentServer>(new AgentServer(std::move(impl)));
}

}  // namespace qmasq::vbond
