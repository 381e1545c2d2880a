// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <string>

namespace qmasq {

Status start_log(std::string_view program, std::string_view level) {
  auto parsed = spdlog::level::from_str(std::string(level));
  // from_str answers "off" for what it does not know.
  if (parsed == spdlog::level::off) {
    return fail(Code::kInvalidArgument, "unknown log level '" + std::string(level) +
                                            "': use trace, debug, info, warn or error");
  }
  auto logger = spdlog::stderr_color_mt(std::string(program));
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::warn);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n %v", spdlog::pattern_time_type::utc);
  spdlog::set_default_logger(std::move(logger));
  spdlog::flush_every(std::chrono::seconds(1));
  return {};
}

}  // namespace qmasq
