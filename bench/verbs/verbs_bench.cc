// SPDX-License-Identifier: Apache-2.0
// Times each control verb, and a whole life of a QP, as a tenant program sees them. It knows
// nothing of qmasq: the same binary runs natively and under `qmasq run`, and bench/verbs/run.py
// compares. The QP connects to itself through the device's own GID, so one host is enough.
//
//   qmasq-bench-verbs DEVICE GID_INDEX ROUNDS     prints {"VERB": [microseconds, ...], ...}
#include <infiniband/verbs.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using Samples = std::map<std::string, std::vector<double>>;

constexpr std::uint8_t kPort = 1;
constexpr std::size_t kBufferBytes = 4096;

[[noreturn]] void die(const char* what, int err) {
  std::fprintf(stderr, "qmasq-bench-verbs: %s: %s\n", what, std::strerror(err));
  std::exit(1);
}

// Runs `verb`, which gives an errno or 0, and keeps how long it took.
template <typename Verb>
void timed(Samples& samples, const char* name, Verb verb) {
  auto start = std::chrono::steady_clock::now();
  int err = verb();
  auto end = std::chrono::steady_clock::now();
  if (err != 0) die(name, err);
  samples[name].push_back(std::chrono::duration<double, std::micro>(end - start).count());
}

template <typename T>
int made(T* object) {
  return object != nullptr ? 0 : errno;
}

void one_life(Samples& samples, ibv_context* context, int gid_index, void* buffer) {
  auto start = std::chrono::steady_clock::now();
  ibv_pd* pd = nullptr;
  ibv_mr* mr = nullptr;
  ibv_cq* cq = nullptr;
  ibv_qp* qp = nullptr;
  timed(samples, "ALLOC_PD", [&] { return made(pd = ibv_alloc_pd(context)); });
  timed(samples, "REG_MR", [&] {
    return made(mr = ibv_reg_mr(pd, buffer, kBufferBytes,
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE));
  });
  timed(samples, "CREATE_CQ",
        [&] { return made(cq = ibv_create_cq(context, 16, nullptr, nullptr, 0)); });
  ibv_qp_init_attr init{};
  init.send_cq = cq;
  init.recv_cq = cq;
  init.cap = {.max_send_wr = 16,
              .max_recv_wr = 16,
              .max_send_sge = 1,
              .max_recv_sge = 1,
              .max_inline_data = 0};
  init.qp_type = IBV_QPT_RC;
  timed(samples, "CREATE_QP", [&] { return made(qp = ibv_create_qp(pd, &init)); });

  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = kPort;
  attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  timed(samples, "MODIFY_QP(INIT)", [&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  });
  ibv_port_attr port{};
  timed(samples, "QUERY_PORT", [&] { return ibv_query_port(context, kPort, &port); });
  ibv_gid gid{};
  timed(samples, "QUERY_GID",
        [&] { return ibv_query_gid(context, kPort, gid_index, &gid) == 0 ? 0 : errno; });

  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = qp->qp_num;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.is_global = 1;
  attr.ah_attr.grh.dgid = gid;
  attr.ah_attr.grh.sgid_index = static_cast<std::uint8_t>(gid_index);
  attr.ah_attr.grh.hop_limit = 1;
  attr.ah_attr.port_num = kPort;
  timed(samples, "MODIFY_QP(RTR)", [&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                             IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  });
  attr = {};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  attr.max_rd_atomic = 1;
  timed(samples, "MODIFY_QP(RTS)", [&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                             IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  });
  timed(samples, "QUERY_QP",
        [&] { return ibv_query_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV, &init); });
  timed(samples, "DESTROY_QP", [&] { return ibv_destroy_qp(qp); });
  timed(samples, "DESTROY_CQ", [&] { return ibv_destroy_cq(cq); });
  timed(samples, "DEREG_MR", [&] { return ibv_dereg_mr(mr); });
  timed(samples, "DEALLOC_PD", [&] { return ibv_dealloc_pd(pd); });
  auto end = std::chrono::steady_clock::now();
  samples["whole QP life"].push_back(
      std::chrono::duration<double, std::micro>(end - start).count());
}

int number(const char* text, const char* what) {
  int value = 0;
  std::string_view view(text);
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc{} || end != view.data() + view.size() || value < 0) {
    std::fprintf(stderr, "qmasq-bench-verbs: %s: '%s' is not a number\n", what, text);
    std::exit(2);
  }
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: qmasq-bench-verbs DEVICE GID_INDEX ROUNDS\n");
    return 2;
  }
  int gid_index = number(argv[2], "GID_INDEX");
  int rounds = number(argv[3], "ROUNDS");
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  ibv_device* device = nullptr;
  for (int i = 0; devices != nullptr && i < count; ++i) {
    if (std::strcmp(ibv_get_device_name(devices[i]), argv[1]) == 0) device = devices[i];
  }
  if (device == nullptr) die(argv[1], ENODEV);

  Samples samples;
  std::array<char, kBufferBytes> buffer{};
  ibv_context* context = nullptr;
  timed(samples, "open device", [&] { return made(context = ibv_open_device(device)); });
  for (int i = 0; i < rounds; ++i)
    one_life(samples, context, gid_index, buffer.data());
  ibv_close_device(context);
  ibv_free_device_list(devices);
  std::printf("%s\n", nlohmann::json(samples).dump().c_str());
  return 0;
}
