// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace qmasq::vbond {

// Values one after the other, in the machine's own order: read on the machine that wrote them.
class ByteWriter {
 public:
  template <typename T>
  ByteWriter& put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  // At most 65535 bytes of it.
  ByteWriter& text(std::string_view value) {
    value = value.substr(0, UINT16_MAX);
    put(static_cast<std::uint16_t>(value.size()));
    bytes_.append(value);
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// What is not there reads as nothing, and done() says so.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  template <typename T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T out{};
    if (rest_.size() < sizeof(T)) {
      sound_ = false;
      return out;
    }
    std::memcpy(&out, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return out;
  }
  std::string text() {
    const auto size = get<std::uint16_t>();
    if (rest_.size() < size) {
      sound_ = false;
      return {};
    }
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return out;
  }
  // All was there, and nothing is left.
  [[nodiscard]] bool done() const { return sound_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool sound_ = true;
};

}  // namespace qmasq::vbond
