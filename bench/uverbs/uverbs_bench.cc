// SPDX-License-Identifier: Apache-2.0
// What the codec adds to a trapped verb: no system calls, warm caches. `decode_find` is the part
// that every call pays, `modify_qp` all that MODIFY_QP needs of this library.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "vbond/uverbs/call.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

namespace {

namespace uv = qmasq::vbond::uverbs;

std::vector<std::byte> modify_call() {
  uv::CallBuilder call = uv::CallBuilder::invoke_write(26, 14);
  const std::vector<std::byte> payload(uv::kModifyQpSize);
  (void)call.add_in(uv::attr::kCoreIn, payload);
  const auto sealed = call.seal();
  return {sealed->begin(), sealed->end()};
}

void decode_find(benchmark::State& state) {
  const auto bytes = modify_call();
  while (state.KeepRunning()) {
    auto call = uv::decode_call(bytes);
    benchmark::DoNotOptimize(uv::find_verb(*call));
  }
}
BENCHMARK(decode_find);

void decode_find_check(benchmark::State& state) {
  const auto bytes = modify_call();
  while (state.KeepRunning()) {
    auto call = uv::decode_call(bytes);
    const uv::Verb* verb = uv::find_verb(*call);
    benchmark::DoNotOptimize(uv::check_attrs(*call, *verb, uv::UnknownAttrs::kRefuse));
  }
}
BENCHMARK(decode_find_check);

void modify_qp(benchmark::State& state) {
  const auto bytes = modify_call();
  uv::ModifyQp rtr;
  rtr.attr_mask = uv::qp_mask::kState | uv::qp_mask::kAv;
  rtr.state = uv::QpState::kRtr;
  std::vector<std::byte> payload(uv::kModifyQpSize);
  (void)uv::encode_modify_qp(rtr, uv::Form::kWrite, payload);
  while (state.KeepRunning()) {
    auto call = uv::decode_call(bytes);
    const uv::Verb* verb = uv::find_verb(*call);
    auto built = uv::CallBuilder::from_call(*call, *verb);
    for (const auto& input : built->inputs()) {
      std::memcpy(input.bytes.data(), payload.data(), input.bytes.size());
    }
    auto modify = uv::decode_modify_qp(built->in(uv::attr::kCoreIn), verb->key.form);
    modify->dest.sgid_index = 3;
    (void)uv::encode_modify_qp(*modify, verb->key.form, built->in(uv::attr::kCoreIn));
    benchmark::DoNotOptimize(built->seal()->data());
    benchmark::DoNotOptimize(built->write_backs(0x1000).size());
  }
}
BENCHMARK(modify_qp);

void destroy_qp(benchmark::State& state) {
  uv::CallBuilder call(4, 1, 14);  // DESTROY_QP
  (void)call.add_idr(uv::attr::kDestroyQpHandle, 3);
  (void)call.add_out(uv::attr::kDestroyQpResp, 4);
  const auto sealed = call.seal();
  const std::vector<std::byte> bytes(sealed->begin(), sealed->end());
  while (state.KeepRunning()) {
    auto decoded = uv::decode_call(bytes);
    auto built = uv::CallBuilder::from_call(*decoded, *uv::find_verb(*decoded));
    benchmark::DoNotOptimize(built->seal()->data());
  }
}
BENCHMARK(destroy_qp);

}  // namespace
