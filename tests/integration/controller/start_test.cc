// SPDX-License-Identifier: Apache-2.0
// How the program starts, refuses to start, and ends.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>

#include "common/unique_fd.h"
#include "tests/integration/controller/controller_process.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using ::testing::HasSubstr;
using testing::run_program;

std::vector<std::string> flags(const qmasq::testing::TempDir& dir, const std::string& listen = "") {
  return {"--data-dir", dir.path(), "--socket",  dir.file("sock"),
          "--listen",   listen,     "--metrics", ""};
}

// A bound Unix socket without anybody behind it, once `fd` is gone.
UniqueFd bind_socket(const std::string& path, bool listening) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  if (listening) {
    EXPECT_EQ(::listen(fd.get(), 4), 0);
  }
  return fd;
}

TEST(Start, SaysItsVersionAndItsFlags) {
  auto version = run_program({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.output, HasSubstr("qmasq-controller 0."));
  auto help = run_program({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* flag : {"--data-dir", "--socket", "--listen", "--insecure-listen", "--metrics",
                           "--log-level", "--heartbeat-ms"}) {
    EXPECT_THAT(help.output, HasSubstr(flag));
  }
  EXPECT_NE(run_program({}).status, 0);
}

TEST(Start, EndsCleanlyAndTakesItsSocketAlong) {
  ControllerProcess process;
  process.start();
  struct stat info {};
  ASSERT_EQ(::stat(process.socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0666U);  // the gate says who may what
  EXPECT_EQ(process.stop(), 0);
  EXPECT_NE(::stat(process.socket().c_str(), &info), 0);
  EXPECT_THAT(process.log(), HasSubstr("stopped"));
}

TEST(Start, KeepsItsStateOverARestart) {
  ControllerProcess process;
  process.start();
  v1::Vpc first;
  ASSERT_TRUE(Client(process).create_vpc("blue", {"10.0.0.0/24"}, &first).ok());
  EXPECT_EQ(process.stop(), 0);
  process.start();
  Client client(process, true);
  v1::Vpc second;
  ASSERT_TRUE(client.create_vpc("red", {"10.0.0.0/24"}, &second).ok());
  EXPECT_EQ(second.vni(), first.vni() + 1);
  EXPECT_GT(second.uid(), first.uid());
  EXPECT_EQ(second.revision(), first.revision() + 1);
}

TEST(Start, TwoOnOneDataDirectoryIsRefused) {
  ControllerProcess process;
  process.start();
  qmasq::testing::TempDir dir;
  auto second =
      run_program({"--data-dir", process.data_dir(), "--socket", dir.file("sock"), "--listen", ""});
  EXPECT_NE(second.status, 0);
  EXPECT_THAT(second.output, HasSubstr("another qmasq-controller uses " + process.data_dir()));
  EXPECT_THAT(second.output, HasSubstr(std::to_string(process.pid())));
  EXPECT_TRUE(Client(process).create_vpc("blue", {"10.0.0.0/24"}).ok());
}

TEST(Start, BeyondLoopbackOnlyWithCertificates) {
  qmasq::testing::TempDir dir;
  for (const char* listen : {"0.0.0.0:0", "[::]:0"}) {
    auto refused = run_program(flags(dir, listen));
    EXPECT_NE(refused.status, 0);
    EXPECT_THAT(refused.output, HasSubstr("qmasq-controller init"));
    EXPECT_THAT(refused.output, HasSubstr(listen));
    auto insecure = flags(dir, listen);
    insecure.emplace_back("--insecure-listen");
    refused = run_program(insecure);
    EXPECT_NE(refused.status, 0);
    EXPECT_THAT(refused.output, HasSubstr("for loopback only"));
    EXPECT_THAT(refused.output, HasSubstr(listen));
  }
  auto loopback = run_program(flags(dir, "127.0.0.1:0"));
  EXPECT_NE(loopback.status, 0);
  EXPECT_THAT(loopback.output, HasSubstr("--insecure-listen does without"));
  for (const char* listen : {"7443", "localhost:7443", "127.0.0.1:", "127.0.0.1:99999", ":::1"}) {
    auto refused = run_program(flags(dir, listen));
    EXPECT_NE(refused.status, 0) << listen;
    EXPECT_THAT(refused.output, HasSubstr("not ADDRESS:PORT"));
  }
}

TEST(Start, APortInUseIsNamed) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::string listen = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  qmasq::testing::TempDir dir;
  auto arguments = flags(dir, listen);
  arguments.emplace_back("--insecure-listen");
  auto refused = run_program(arguments);
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr(listen));
  EXPECT_THAT(refused.output, HasSubstr("in use"));
}

TEST(Start, AStaleSocketIsReplacedALivingOneIsNot) {
  ControllerProcess process;
  { auto stale = bind_socket(process.socket(), true); }
  process.start();
  process.kill9();
  process.start();  // over the socket that the killed one left
  EXPECT_TRUE(Client(process).create_vpc("blue", {"10.0.0.0/24"}).ok());

  qmasq::testing::TempDir dir;
  auto living = bind_socket(dir.file("sock"), true);
  auto refused = run_program(flags(dir));
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("another process listens on the socket"));
  EXPECT_THAT(refused.output, HasSubstr(dir.file("sock")));
}

TEST(Start, WhatIsInTheWayIsNamed) {
  qmasq::testing::TempDir dir;
  std::ofstream(dir.file("sock")) << "not a socket";
  auto refused = run_program(flags(dir));
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("is not a socket"));
  auto data = run_program({"--data-dir", dir.file("no/such"), "--socket", dir.file("s")});
  EXPECT_NE(data.status, 0);
  EXPECT_THAT(data.output, HasSubstr(dir.file("no/such")));
  auto level = run_program({"--data-dir", dir.path(), "--log-level", "loud"});
  EXPECT_NE(level.status, 0);
  EXPECT_THAT(level.output, HasSubstr("loud"));
}

// A call by its name with bytes for messages: Debian ships no stubs for the two standard services.
std::string raw_call(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  auto context = Client::context();
  auto call = stub.PrepareCall(context.get(), method, &queue);
  auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::Slice slice(request);
  grpc::ByteBuffer response;
  std::string out;
  call->StartCall(nullptr);
  bool ok = wait();
  if (ok) {
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    ok = wait();
  }
  if (ok) {
    call->Read(&response, nullptr);
    ok = wait();
  }
  if (ok) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(response.Dump(&slices).ok());
    for (const auto& part : slices)
      out.append(part.begin(), part.end());
  }
  context->TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  return out;
}

TEST(Start, HealthIsServing) {
  ControllerProcess process;
  process.start();
  // HealthCheckResponse{status = SERVING}.
  EXPECT_EQ(raw_call(process.channel(), "/grpc.health.v1.Health/Check", ""), "\x08\x01");
}

TEST(Start, ReflectionListsTheServices) {
  ControllerProcess process;
  process.start();
  // ServerReflectionRequest{list_services = ""}: field 7.
  std::string names = raw_call(process.channel(true),
                               "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                               std::string("\x3a\x00", 2));
  for (const char* name :
       {"qmasq.v1.VpcService", "qmasq.v1.EndpointService", "qmasq.v1.HostService",
        "qmasq.v1.SyncService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(names, HasSubstr(name));
  }
}

}  // namespace
}  // namespace qmasq::controller
