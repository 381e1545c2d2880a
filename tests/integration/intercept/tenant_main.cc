// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "tests/integration/intercept/tenant_scenarios.h"
#include "vbond/attach/attach_client.h"
#include "vbond/filter/filter.h"

namespace {

int complain(const qmasq::Error& error) {
  std::fprintf(stderr, "%s (errno %d)\n", error.message.c_str(), error.err);
  return 125;
}

// usage: intercept_tenant SOCKET SCENARIO
int attach(const std::string& socket) {
  auto client = qmasq::vbond::AttachClient::connect(socket);
  if (!client) return complain(client.error());
  auto offer = client->request("blue/a", "intercept_tenant");
  if (!offer) return complain(offer.error());
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 125;
  qmasq::vbond::FilterOptions options;
  options.reserved_first = offer->terms.reserved_first;
  options.reserved_count = offer->terms.reserved_count;
  options.trap_write = !offer->terms.tenant_opens;
  auto listener = qmasq::vbond::install_filter(options);
  if (!listener) return complain(listener.error());
  if (auto done = client->hand_over(std::move(*listener)); !done) return complain(done.error());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  // "-": already inside, after exec.
  if (std::strcmp(argv[1], "-") != 0) {
    if (int code = attach(argv[1]); code != 0) return code;
  }
  return qmasq::test::run_scenario(argv[2]);
}
