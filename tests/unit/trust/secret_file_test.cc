// SPDX-License-Identifier: Apache-2.0
#include "trust/secret_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"
#include "trust/authority.h"
#include "trust/stored_identity.h"

namespace qmasq::trust {
namespace {

using ::testing::HasSubstr;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

std::size_t files_in(const std::string& path) {
  std::filesystem::directory_iterator all(path);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(SecretFile, IsForItsOwnerOnly) {
  testing::TempDir dir;
  const auto path = dir.file("key");
  ASSERT_TRUE(write_file_atomically(path, "secret", 0600));
  EXPECT_EQ(mode_of(path), 0600U);
  auto read = read_secret_file(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->reveal(), "secret");
  for (mode_t mode : {0640U, 0604U, 0660U, 0601U}) {
    ::chmod(path.c_str(), mode);
    auto refused = read_secret_file(path);
    ASSERT_FALSE(refused) << mode;
    EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
    EXPECT_THAT(refused.error().message, HasSubstr("chmod 600"));
    EXPECT_TRUE(read_text_file(path));
  }
}

TEST(SecretFile, IsReplacedWhole) {
  testing::TempDir dir;
  const auto path = dir.file("key");
  ::umask(0);
  ASSERT_TRUE(write_file_atomically(path, "one", 0600));
  ASSERT_TRUE(write_file_atomically(path, "two", 0600));
  ::umask(022);
  EXPECT_EQ(read_secret_file(path)->reveal(), "two");
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_EQ(files_in(dir.path()), 1U);
  EXPECT_FALSE(write_file_atomically(dir.file("none/key"), "x", 0600));
  // A directory is in the way: nothing is left behind.
  std::filesystem::create_directories(dir.file("taken/x"));
  EXPECT_FALSE(write_file_atomically(dir.file("taken"), "x", 0600));
  EXPECT_EQ(files_in(dir.path()), 2U);
}

TEST(SecretFile, RefusesWhatIsNone) {
  testing::TempDir dir;
  auto none = read_secret_file(dir.file("none"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kNotFound);
  EXPECT_FALSE(read_secret_file(dir.path()));
  ASSERT_TRUE(write_file_atomically(dir.file("long"), std::string(1 << 20, 'x'), 0600));
  EXPECT_FALSE(read_secret_file(dir.file("long")));
  ASSERT_EQ(::mkfifo(dir.file("fifo").c_str(), 0600), 0);
  EXPECT_FALSE(read_secret_file(dir.file("fifo")));  // and does not wait
}

TEST(Secret, IsGoneWhenMoved) {
  Secret one(std::string("short"));
  Secret two(std::move(one));
  EXPECT_EQ(two.reveal(), "short");
  EXPECT_TRUE(one.empty());  // NOLINT(bugprone-use-after-move)
}

TEST(StoredIdentity, ComesBackAsItWas) {
  testing::TempDir dir;
  const auto place = dir.file("tls");
  auto missing = read_identity(place);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  auto now = std::chrono::system_clock::now();
  auto authority = Authority::create("test", now, std::chrono::hours(24));
  auto key = PrivateKey::generate();
  ASSERT_TRUE(authority && key);
  IssueOptions options{
      {Identity::Kind::kHost, "a"}, Purpose::kClient, now, std::chrono::hours(1), {}, {}};
  auto issued = authority->issue(public_half(*key), options);
  ASSERT_TRUE(issued);
  ASSERT_TRUE(write_identity(place, *key, issued->pem, authority->certificate()));
  EXPECT_EQ(mode_of(place), 0700U);
  EXPECT_EQ(mode_of(identity_file(place)), 0600U);
  auto stored = read_identity(place);
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ(stored->certificate, issued->pem);
  EXPECT_EQ(stored->ca_certificate, authority->certificate());
  EXPECT_EQ(stored->info.serial, issued->info.serial);
  EXPECT_EQ(stored->key.pem()->reveal(), key->pem()->reveal());

  auto other = PrivateKey::generate();
  ASSERT_TRUE(write_identity(place, *other, issued->pem, authority->certificate()));
  auto mixed = read_identity(place);
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().message, HasSubstr("does not belong to the certificate"));
  ASSERT_TRUE(write_file_atomically(identity_file(place), "rubbish", 0600));
  EXPECT_FALSE(read_identity(place));
}

}  // namespace
}  // namespace qmasq::trust
