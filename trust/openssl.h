// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"

// OpenSSL's objects with owners. For trust/'s own files only.
namespace qmasq::trust::openssl {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using BigNumber = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;
using Request = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;
using Store = std::unique_ptr<X509_STORE, Deleter<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX_free>>;

// Reads from `text`, which must outlive it.
[[nodiscard]] Bio reader(std::string_view text);
// What was written, by PEM_write_bio_*.
[[nodiscard]] std::string written(BIO* bio);
// "doing: reason". Empties OpenSSL's queue of errors. kInternal unless told.
[[nodiscard]] tl::unexpected<Error> fail_openssl(std::string_view doing,
                                                 Code code = Code::kInternal);
// The first certificate in the text.
[[nodiscard]] Result<Certificate> parse_certificate(std::string_view pem);
[[nodiscard]] std::string to_pem(X509* certificate);
[[nodiscard]] std::string hex(const unsigned char* bytes, std::size_t count);

}  // namespace qmasq::trust::openssl
