// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/agent/agent_site.h"

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <fstream>

#include "qmasq/v1/agent.grpc.pb.h"

namespace qmasq::test {
namespace {

std::unique_ptr<v1::AgentService::Stub> stub_of(const std::string& socket) {
  return v1::AgentService::NewStub(
      grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
}

// What a NIC shows in sysfs, as far as it is covered for tenants.
void make_sysfs(const std::string& root, const std::string& device) {
  namespace fs = std::filesystem;
  fs::path real = fs::path(root) / "devices/virtual/infiniband" / device;
  for (const char* part : {"gids", "gid_attrs/types", "gid_attrs/ndevs"}) {
    fs::create_directories(real / "ports/1" / part);
  }
  std::ofstream(real / "node_guid") << "5054:00ff:fe00:0001\n";
  std::ofstream(real / "sys_image_guid") << "5054:00ff:fe00:0001\n";
  fs::create_directories(fs::path(root) / "class/infiniband");
  fs::create_directory_symlink(real, fs::path(root) / "class/infiniband" / device);
}

}  // namespace

AgentSite::AgentSite(const std::string& host, std::string controller, const std::string& address) {
  options.host = "hosts/" + host;
  options.controller = std::move(controller);
  options.underlay_address = *parse_ip(address);
  options.builtin_overlay = false;
  options.certificates = directory_.file("tls");
  options.socket_directory = directory_.path();
  attach_socket_ = directory_.file("attach.sock");
  socket_ = directory_.file("vbond.sock");
  std::filesystem::create_directory(directory_.file("netns"));
  std::filesystem::create_directory(directory_.file("dev"));
  make_sysfs(directory_.file("sys"), "rxe0");
  network = std::make_shared<SiteNetwork>(directory_.file("netns"));
  nics->put(vbond::FakeNicSource::soft_roce("rxe0", *options.underlay_address));
}

AgentSite::~AgentSite() {
  stop();
}

Status AgentSite::start() {
  vbond::AgentSeams seams;
  seams.nics = nics;
  seams.underlay = std::make_shared<vbond::FakeUnderlay>(options.underlay_address);
  seams.namespaces = network;
  seams.memory = kernel;
  seams.devices = kernel;
  seams.tasks = kernel;
  seams.files.staging = directory_.file("endpoints");
  seams.files.sysfs = directory_.file("sys");
  seams.device_directory = directory_.file("dev");
  seams.node_of = [](const std::string& device) {
    return device == "rxe0" ? std::string("uverbs0") : std::string();
  };
  seams.qos_backend = [this](const vbond::Nic&,
                             const vbond::PolicyTable&) -> Result<std::unique_ptr<qos::Backend>> {
    return limits.backend();
  };
  seams.kernel_release = "6.1.0-test";
  seams.features = {"user_notif"};
  seams.backoff = {std::chrono::milliseconds(10), std::chrono::milliseconds(50),
                   std::chrono::milliseconds(200)};
  seams.random = [] { return 0.5; };
  QMASQ_ASSIGN(metrics_, Metrics::create("qmasq-vbond", ""));
  QMASQ_ASSIGN(agent_, vbond::Agent::start(options, std::move(seams), clock_, *metrics_));
  return {};
}

void AgentSite::stop() {
  agent_.reset();
  metrics_.reset();
}

v1::Agent AgentSite::describe() const {
  v1::Agent out;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  auto status = stub_of(socket_)->GetAgent(&context, {}, &out);
  if (!status.ok()) out.set_last_error("no answer: " + status.error_message());
  return out;
}

v1::HostQos AgentSite::qos() const {
  v1::HostQos out;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  auto status = stub_of(socket_)->GetQos(&context, {}, &out);
  if (!status.ok()) out.set_error("no answer: " + status.error_message());
  return out;
}

std::vector<v1::Event> AgentSite::events(const std::string& type) const {
  v1::WatchEventsRequest request;
  request.add_types(type);
  grpc::ClientContext context;
  auto stub = stub_of(socket_);
  auto reader = stub->WatchEvents(&context, request);
  std::vector<v1::Event> out;
  v1::Event event;
  while (reader->Read(&event))
    out.push_back(event);
  (void)reader->Finish();
  return out;
}

}  // namespace qmasq::test
