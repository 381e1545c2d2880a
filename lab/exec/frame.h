// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

// The protocol between `./x lab exec` and a lab host: frames over one TCP connection per command.
// A frame is a u32 length (of what follows), a u8 type, and a payload. Integers are big-endian.
// Pure: bytes in, values out; no descriptors here.
namespace qmasq::lab {

// client -> host: start first, then the rest in any order. host -> client: started (or failed),
// then output, then exited, which is the last frame.
enum class FrameType : std::uint8_t {
  kStart = 1,       // StartRequest
  kStdin = 2,       // bytes for the command
  kStdinEof = 3,    // close the command's standard input
  kSignal = 4,      // u8 signal number, for the command's process group
  kWindowSize = 5,  // u16 rows, u16 columns
  kStarted = 16,    // empty: the command runs
  kFailed = 17,     // text: the request was refused, nothing ran
  kStdout = 18,     // bytes
  kStderr = 19,     // bytes
  kExited = 20,     // u8 exit code, 128+n for a signal
};

// No honest frame is larger: arguments and environment of one command, or a block of output.
inline constexpr std::size_t kMaxFrame = 256UL * 1024;

struct Frame {
  FrameType type = FrameType::kStart;
  std::vector<std::byte> payload;
};

struct WindowSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

struct StartRequest {
  std::string token;  // the lab's secret: another user of the machine cannot run commands in it
  bool terminal = false;
  WindowSize window;
  std::string directory;
  std::vector<std::string> arguments;    // at least one
  std::vector<std::string> environment;  // NAME=value, added to the host's own
};

[[nodiscard]] std::vector<std::byte> encode_frame(FrameType type,
                                                  std::span<const std::byte> payload);
[[nodiscard]] std::vector<std::byte> encode_text(FrameType type, std::string_view text);
[[nodiscard]] std::vector<std::byte> encode_u8(FrameType type, std::uint8_t value);
[[nodiscard]] std::vector<std::byte> encode_window(WindowSize window);
[[nodiscard]] std::vector<std::byte> encode_start(const StartRequest& request);

[[nodiscard]] Result<StartRequest> decode_start(std::span<const std::byte> payload);
[[nodiscard]] Result<WindowSize> decode_window(std::span<const std::byte> payload);
[[nodiscard]] Result<std::uint8_t> decode_u8(std::span<const std::byte> payload);

// Cuts a byte stream into frames. After an error the stream is lost: drop the connection.
class FrameReader {
 public:
  void feed(std::span<const std::byte> bytes);
  // The next whole frame, or nothing yet.
  [[nodiscard]] Result<std::optional<Frame>> next();

 private:
  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
};

}  // namespace qmasq::lab
