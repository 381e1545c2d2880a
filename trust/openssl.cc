// SPDX-License-Identifier: Apache-2.0
#include "trust/openssl.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>

namespace qmasq::trust::openssl {
namespace {

constexpr std::size_t kMaxPem = 64 << 10;

}  // namespace

Bio reader(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string written(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

tl::unexpected<Error> fail_openssl(std::string_view doing, Code code) {
  std::array<char, 256> text{};
  unsigned long error = ERR_peek_last_error();
  ERR_error_string_n(error, text.data(), text.size());
  ERR_clear_error();
  if (error == 0) return fail(code, std::string(doing));
  return fail(code, fmt::format("{}: {}", doing, text.data()));
}

Result<Certificate> parse_certificate(std::string_view pem) {
  if (pem.size() > kMaxPem) return fail(Code::kInvalidArgument, "the certificate is too long");
  Bio bio = reader(pem);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) {
    return fail_openssl("this is not a certificate in PEM form", Code::kInvalidArgument);
  }
  return certificate;
}

std::string to_pem(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  return written(bio.get());
}

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string out;
  out.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i)
    fmt::format_to(std::back_inserter(out), "{:02x}", bytes[i]);
  return out;
}

}  // namespace qmasq::trust::openssl
