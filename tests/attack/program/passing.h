// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qmasq::attack {

// One descriptor over a Unix socket (SCM_RIGHTS). False, or -1, with errno set when it fails.
bool send_descriptor(int socket, int fd);
int receive_descriptor(int socket);

}  // namespace qmasq::attack
