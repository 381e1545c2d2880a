// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/controller/controller_process.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace qmasq::controller::testing {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A file system of its own for the data directory. Exit code 99 says that this is not allowed here.
void mount_small(const std::string& dir, int kib) {
  std::string size = "size=" + std::to_string(kib) + "k";
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
      ::mount("none", dir.c_str(), "tmpfs", 0, size.c_str()) != 0) {
    ::_exit(99);
  }
}

pid_t spawn(const std::vector<std::string>& arguments, const std::string& output,
            const std::string& small_dir, int kib) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const auto& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  // A test that is killed takes its controller along.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, 1);
  ::dup2(fd, 2);
  if (kib > 0) mount_small(small_dir, kib);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Finished run_program(const std::vector<std::string>& arguments) {
  qmasq::testing::TempDir dir;
  std::vector<std::string> all = {QMASQ_CONTROLLER};
  all.insert(all.end(), arguments.begin(), arguments.end());
  pid_t pid = spawn(all, dir.file("out"), "", 0);
  Finished out;
  out.status = wait_for(pid);
  out.output = slurp(dir.file("out"));
  return out;
}

ControllerProcess::ControllerProcess() {
  ::mkdir(data_dir().c_str(), 0700);
}

ControllerProcess::~ControllerProcess() {
  end(SIGKILL);
  // In sanitizer builds the program under test reports there, and a killed one has no exit code.
  const std::string text = log();
  const auto report = text.find("Sanitizer");
  EXPECT_EQ(report, std::string::npos) << text.substr(std::min(report, text.size()), 4000);
}

std::string ControllerProcess::log() const {
  return slurp(dir_.file("log"));
}

void ControllerProcess::start(const std::vector<std::string>& more, int tmpfs_kib) {
  std::vector<std::string> arguments = {QMASQ_CONTROLLER, "--data-dir", data_dir(),
                                        "--socket",       socket(),     "--listen",
                                        "127.0.0.1:0",    "--metrics",  ""};
  // Without certificates of its own it is the tests' own machine that is trusted.
  if (!std::filesystem::exists(data_dir() + "/tls")) arguments.emplace_back("--insecure-listen");
  arguments.insert(arguments.end(), more.begin(), more.end());
  const std::size_t before = log().size();
  pid_ = spawn(arguments, dir_.file("log"), data_dir(), tmpfs_kib);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    std::string text = log().substr(before);
    auto ready = text.find(" ready: ");
    auto listen = text.find("listen ", ready);
    if (ready != std::string::npos && text.find('\n', listen) != std::string::npos) {
      auto start = listen + std::string("listen ").size();
      address_ = text.substr(start, text.find(',', start) - start);
      return;
    }
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 99) {
        GTEST_SKIP() << "mounting is not allowed here";
      }
      FAIL() << "the controller ended: " << text;
    }
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << text;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void ControllerProcess::start_with_log(const std::string& path) {
  pid_ = spawn({QMASQ_CONTROLLER, "--data-dir", data_dir(), "--socket", socket(), "--listen", "",
                "--metrics", "", "--log-level", "debug"},
               path, "", 0);
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(60);
  ASSERT_TRUE(channel()->WaitForConnected(deadline));
}

int ControllerProcess::end(int signal) {
  if (pid_ <= 0) return -1;
  ::kill(pid_, signal);
  int status = wait_for(pid_);
  pid_ = -1;
  return status;
}

std::shared_ptr<grpc::Channel> ControllerProcess::channel(bool tcp) const {
  grpc::ChannelArguments arguments;
  // Not the process-wide pool of connections: each test and each fake agent has its own.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(tcp ? address_ : "unix:" + socket(),
                                   grpc::InsecureChannelCredentials(), arguments);
}

Client::Client(const ControllerProcess& process, bool tcp)
    : channel(process.channel(tcp)),
      vpcs(v1::VpcService::NewStub(channel)),
      endpoints(v1::EndpointService::NewStub(channel)),
      hosts(v1::HostService::NewStub(channel)),
      qos(v1::QosService::NewStub(channel)),
      sync(v1::SyncService::NewStub(channel)) {}

std::unique_ptr<grpc::ClientContext> Client::context(int seconds) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  return context;
}

grpc::Status Client::create_vpc(const std::string& id, const std::vector<std::string>& ranges,
                                v1::Vpc* out, const std::string& request_id, std::uint32_t vni) {
  v1::CreateVpcRequest request;
  request.set_vpc_id(id);
  for (const auto& range : ranges)
    request.mutable_vpc()->add_ranges(range);
  request.mutable_vpc()->set_vni(vni);
  request.set_request_id(request_id);
  v1::Vpc ignored;
  return vpcs->CreateVpc(context().get(), request, out != nullptr ? out : &ignored);
}

grpc::Status Client::create_host(const std::string& id, v1::Host* out) {
  v1::CreateHostRequest request;
  request.set_host_id(id);
  v1::Host ignored;
  return hosts->CreateHost(context().get(), request, out != nullptr ? out : &ignored);
}

grpc::Status Client::create_endpoint(const std::string& vpc, const std::string& id,
                                     const std::string& host,
                                     const std::vector<std::string>& addresses, v1::Endpoint* out,
                                     const std::string& request_id) {
  v1::CreateEndpointRequest request;
  request.set_parent("vpcs/" + vpc);
  request.set_endpoint_id(id);
  request.mutable_endpoint()->set_host("hosts/" + host);
  for (const auto& address : addresses)
    request.mutable_endpoint()->add_addresses(address);
  request.set_request_id(request_id);
  v1::Endpoint ignored;
  return endpoints->CreateEndpoint(context().get(), request, out != nullptr ? out : &ignored);
}

std::vector<v1::Endpoint> Client::list_endpoints(const std::string& parent, int page_size) {
  std::vector<v1::Endpoint> out;
  v1::ListEndpointsRequest request;
  request.set_parent(parent);
  request.set_page_size(page_size);
  do {
    v1::ListEndpointsResponse page;
    auto status = endpoints->ListEndpoints(context().get(), request, &page);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok()) break;
    for (const auto& endpoint : page.endpoints())
      out.push_back(endpoint);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return out;
}

}  // namespace qmasq::controller::testing
