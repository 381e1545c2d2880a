// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/permissions.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "controller/auth/call_limits.h"
#include "qmasq/v1/agent.pb.h"
#include "qmasq/v1/auth.pb.h"
#include "qmasq/v1/impact.pb.h"
#include "qmasq/v1/qos.pb.h"
#include "qmasq/v1/security_group.pb.h"
#include "qmasq/v1/sync.pb.h"
#include "qmasq/v1/trace.pb.h"

namespace qmasq::controller {
namespace {

using ::testing::HasSubstr;

std::vector<const google::protobuf::MethodDescriptor*> all_methods() {
  // So that the linker keeps every file.
  v1::Agent::descriptor();
  v1::Impact::descriptor();
  v1::AuditRecord::descriptor();
  v1::TraceRequest::descriptor();
  v1::SyncRequest::descriptor();
  std::vector<const google::protobuf::MethodDescriptor*> out;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const auto& entry : std::filesystem::directory_iterator("schema/proto/qmasq/v1")) {
    const std::string name = "qmasq/v1/" + entry.path().filename().string();
    const auto* file = pool->FindFileByName(name);
    EXPECT_NE(file, nullptr) << name;
    if (file == nullptr || name == "qmasq/v1/agent.proto") continue;
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j)
        out.push_back(file->service(i)->method(j));
    }
  }
  return out;
}

// Follows "a.b" to the field at its end.
const google::protobuf::FieldDescriptor* field_at(const google::protobuf::Descriptor* message,
                                                  std::string_view path) {
  const auto dot = path.find('.');
  const auto* field = message->FindFieldByName(std::string(path.substr(0, dot)));
  if (field == nullptr || dot == std::string_view::npos) return field;
  return field_at(field->message_type(), path.substr(dot + 1));
}

TEST(Permissions, EveryMethodHasOneAndNothingElse) {
  std::set<std::string> listed;
  for (const auto& permission : permissions())
    EXPECT_TRUE(listed.insert(std::string(permission.method)).second) << permission.method;
  std::set<std::string> existing;
  for (const auto* method : all_methods())
    existing.insert(method->service()->name() + "/" + method->name());
  EXPECT_EQ(listed, existing);
}

TEST(Permissions, NamesAreTextsOfTheRequest) {
  for (const auto* method : all_methods()) {
    const auto* permission = find_permission(method->service()->name() + "/" + method->name());
    ASSERT_NE(permission, nullptr) << method->full_name();
    for (std::string_view path : permission->names) {
      if (path.empty()) continue;
      const auto* field = field_at(method->input_type(), path);
      ASSERT_NE(field, nullptr) << method->full_name() << " " << path;
      EXPECT_EQ(field->cpp_type(), google::protobuf::FieldDescriptor::CPPTYPE_STRING);
      EXPECT_FALSE(field->is_repeated());
    }
  }
}

// What a VPC's admin may call at all must say of which VPC it is, or be a list.
TEST(Permissions, WhatAVpcAdminChangesNamesItsVpc) {
  for (const auto& permission : permissions()) {
    if (permission.need == Need::kWrite) {
      EXPECT_FALSE(permission.names[0].empty()) << permission.method;
    }
  }
}

Caller caller_of(Role role, std::vector<std::string> vpcs = {}) {
  Caller caller;
  caller.name = "accesses/x";
  caller.role = role;
  caller.vpcs = std::move(vpcs);
  return caller;
}

TEST(Permissions, FollowTheRole) {
  auto may = [](Role role, std::string_view method) {
    return check_permission(caller_of(role, {"blue"}), *find_permission(method), nullptr)
        .has_value();
  };
  EXPECT_TRUE(may(Role::kAdmin, "VpcService/CreateVpc"));
  EXPECT_FALSE(may(Role::kViewer, "VpcService/CreateVpc"));
  EXPECT_FALSE(may(Role::kVpcAdmin, "VpcService/CreateVpc"));
  EXPECT_FALSE(may(Role::kHost, "VpcService/GetVpc"));
  EXPECT_FALSE(may(Role::kNone, "VpcService/GetVpc"));
  EXPECT_TRUE(may(Role::kViewer, "VpcService/GetVpc"));
  EXPECT_TRUE(may(Role::kVpcAdmin, "EndpointService/CreateEndpoint"));
  EXPECT_TRUE(may(Role::kHost, "SyncService/Sync"));
  EXPECT_FALSE(may(Role::kViewer, "SyncService/Sync"));
  EXPECT_FALSE(may(Role::kAdmin, "SyncService/Sync"));  // with a certificate
  EXPECT_TRUE(may(Role::kNone, "AuthService/WhoAmI"));
  EXPECT_EQ(find_permission("VpcService/Nonsense"), nullptr);
}

TEST(Permissions, HostileNamesAreNotTakenForVpcs) {
  const auto* get = find_permission("EndpointService/GetEndpoint");
  const auto* trace = find_permission("TraceService/Trace");
  auto check = [&](const std::string& name) {
    v1::GetEndpointRequest request;
    request.set_name(name);
    return check_permission(caller_of(Role::kVpcAdmin, {"blue"}), *get, &request);
  };
  EXPECT_TRUE(check("vpcs/blue/endpoints/a"));
  auto hidden = check("vpcs/red/endpoints/a");
  ASSERT_FALSE(hidden);
  EXPECT_EQ(hidden.error().code, Code::kNotFound);
  EXPECT_EQ(hidden.error().message, "there is no vpcs/red");
  // Not valid names: the call itself says so, whatever there is.
  EXPECT_TRUE(check("vpcs/RED/endpoints/a"));
  EXPECT_TRUE(check(""));
  v1::TraceRequest request;
  request.set_from("vpcs/blue/endpoints/a");
  request.set_to("10.0.0.7");
  EXPECT_TRUE(check_permission(caller_of(Role::kVpcAdmin, {"blue"}), *trace, &request));
  request.set_to("vpcs/red/endpoints/b");
  EXPECT_FALSE(check_permission(caller_of(Role::kVpcAdmin, {"blue"}), *trace, &request));
  auto subject = subject_of(*trace, request);
  EXPECT_EQ(subject.resource, "vpcs/blue/endpoints/a");
  EXPECT_EQ(subject.vpc_id, "blue");
  request.set_from("\x1b[2J" + std::string(1000, 'x'));
  EXPECT_EQ(subject_of(*trace, request).resource.size(), 200U);
  EXPECT_EQ(subject_of(*trace, request).resource[0], '?');
}

TEST(CallLimits, EachHasItsOwn) {
  CallLimits limits;
  CallLimits::Time now{};
  const qos::VerbRate rate{10, 2};
  EXPECT_FALSE(limits.take("a", rate, now));
  EXPECT_FALSE(limits.take("a", rate, now));
  auto wait = limits.take("a", rate, now);
  ASSERT_TRUE(wait);
  EXPECT_FALSE(limits.take("b", rate, now));
  EXPECT_FALSE(limits.take("a", rate, now + *wait));
  // Many others do not take room for ever.
  for (std::size_t i = 0; i < 2 * CallLimits::kMost; ++i)
    EXPECT_FALSE(limits.take(std::to_string(i), rate, now));
}

}  // namespace
}  // namespace qmasq::controller
