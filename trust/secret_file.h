// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/result.h"
#include "trust/secret.h"

// Files that hold keys. Blocking; any thread.
namespace qmasq::trust {

// Refuses (kFailedPrecondition) a file that its group or others may read or write, or that belongs
// to neither root nor this user, and one above 256 kB; kNotFound where there is none.
[[nodiscard]] Result<Secret> read_secret_file(const std::string& path);
// The same without the demands on its mode, for certificates.
[[nodiscard]] Result<std::string> read_text_file(const std::string& path);

// Whole or not at all, on disk when it returns: a file beside it is written, flushed and renamed.
// Mode 0600 for what is secret, 0644 for certificates.
[[nodiscard]] Status write_file_atomically(const std::string& path, std::string_view text,
                                           mode_t mode);
// With mode 0700; one that exists already must be of this user and closed to others.
[[nodiscard]] Status make_secret_directory(const std::string& path);

}  // namespace qmasq::trust
