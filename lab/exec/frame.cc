// SPDX-License-Identifier: Apache-2.0
#include "lab/exec/frame.h"

namespace qmasq::lab {
namespace {

constexpr std::size_t kHeader = 5;  // u32 length, u8 type

void put(std::vector<std::byte>& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::byte>(value >> shift));
  }
}

void put_string(std::vector<std::byte>& out, std::string_view text) {
  put(out, text.size(), 4);
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void put_strings(std::vector<std::byte>& out, const std::vector<std::string>& list) {
  put(out, list.size(), 4);
  for (const std::string& text : list)
    put_string(out, text);
}

// Takes values off the front of a payload; every step says whether there was enough.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] Result<std::uint32_t> number(std::size_t width) {
    if (bytes_.size() < width) return fail(Code::kInvalidArgument, "frame is too short");
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[i]);
    }
    bytes_ = bytes_.subspan(width);
    return value;
  }

  [[nodiscard]] Result<std::string> string() {
    QMASQ_ASSIGN(const std::uint32_t size, number(4));
    if (bytes_.size() < size) return fail(Code::kInvalidArgument, "string exceeds its frame");
    std::string text(reinterpret_cast<const char*>(bytes_.data()), size);
    if (text.find('\0') != std::string::npos) {
      return fail(Code::kInvalidArgument, "string holds a zero byte");
    }
    bytes_ = bytes_.subspan(size);
    return text;
  }

  [[nodiscard]] Result<std::vector<std::string>> strings() {
    QMASQ_ASSIGN(const std::uint32_t count, number(4));
    // Each takes four bytes at least, which bounds the loop by the frame's size.
    if (count > bytes_.size() / 4) return fail(Code::kInvalidArgument, "list exceeds its frame");
    std::vector<std::string> list;
    list.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      QMASQ_ASSIGN(std::string text, string());
      list.push_back(std::move(text));
    }
    return list;
  }

  [[nodiscard]] Status end() const {
    if (!bytes_.empty()) return fail(Code::kInvalidArgument, "frame has bytes left over");
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> encode_frame(FrameType type, std::span<const std::byte> payload) {
  std::vector<std::byte> out;
  out.reserve(kHeader + payload.size());
  put(out, 1 + payload.size(), 4);
  out.push_back(static_cast<std::byte>(type));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

std::vector<std::byte> encode_text(FrameType type, std::string_view text) {
  return encode_frame(type, std::as_bytes(std::span(text)));
}

std::vector<std::byte> encode_u8(FrameType type, std::uint8_t value) {
  const std::byte byte{value};
  return encode_frame(type, std::span(&byte, 1));
}

std::vector<std::byte> encode_window(WindowSize window) {
  std::vector<std::byte> payload;
  put(payload, window.rows, 2);
  put(payload, window.columns, 2);
  return encode_frame(FrameType::kWindowSize, payload);
}

std::vector<std::byte> encode_start(const StartRequest& request) {
  std::vector<std::byte> payload;
  put_string(payload, request.token);
  put(payload, request.terminal ? 1 : 0, 1);
  put(payload, request.window.rows, 2);
  put(payload, request.window.columns, 2);
  put_string(payload, request.directory);
  put_strings(payload, request.arguments);
  put_strings(payload, request.environment);
  return encode_frame(FrameType::kStart, payload);
}

Result<StartRequest> decode_start(std::span<const std::byte> payload) {
  Cursor cursor(payload);
  StartRequest request;
  QMASQ_ASSIGN(request.token, cursor.string());
  QMASQ_ASSIGN(const std::uint32_t terminal, cursor.number(1));
  request.terminal = terminal != 0;
  QMASQ_ASSIGN(const std::uint32_t rows, cursor.number(2));
  QMASQ_ASSIGN(const std::uint32_t columns, cursor.number(2));
  request.window = {static_cast<std::uint16_t>(rows), static_cast<std::uint16_t>(columns)};
  QMASQ_ASSIGN(request.directory, cursor.string());
  QMASQ_ASSIGN(request.arguments, cursor.strings());
  QMASQ_ASSIGN(request.environment, cursor.strings());
  QMASQ_TRY(cursor.end());
  if (request.arguments.empty()) return fail(Code::kInvalidArgument, "no command");
  return request;
}

Result<WindowSize> decode_window(std::span<const std::byte> payload) {
  Cursor cursor(payload);
  QMASQ_ASSIGN(const std::uint32_t rows, cursor.number(2));
  QMASQ_ASSIGN(const std::uint32_t columns, cursor.number(2));
  QMASQ_TRY(cursor.end());
  return WindowSize{static_cast<std::uint16_t>(rows), static_cast<std::uint16_t>(columns)};
}

Result<std::uint8_t> decode_u8(std::span<const std::byte> payload) {
  Cursor cursor(payload);
  QMASQ_ASSIGN(const std::uint32_t value, cursor.number(1));
  QMASQ_TRY(cursor.end());
  return static_cast<std::uint8_t>(value);
}

void FrameReader::feed(std::span<const std::byte> bytes) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
  used_ = 0;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::span<const std::byte> rest = std::span(buffer_).subspan(used_);
  if (rest.size() < 4) return std::nullopt;
  QMASQ_ASSIGN(const std::uint32_t length, Cursor(rest).number(4));
  if (length == 0 || length > kMaxFrame) {
    return fail(Code::kInvalidArgument, "frame of " + std::to_string(length) + " bytes");
  }
  if (rest.size() < 4 + length) return std::nullopt;
  Frame frame;
  frame.type = static_cast<FrameType>(rest[4]);
  const auto payload = rest.subspan(kHeader, length - 1);
  frame.payload.assign(payload.begin(), payload.end());
  used_ += 4 + length;
  return frame;
}

}  // namespace qmasq::lab
