// SPDX-License-Identifier: Apache-2.0
#include "lab/exec/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "common/unique_fd.h"

namespace qmasq::lab {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBlock = 64UL * 1024;
constexpr std::chrono::seconds kGrace{3};

// Puts the user's terminal into raw mode, and back when it goes.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &saved_) != 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  }

 private:
  termios saved_{};
  bool active_ = false;
};

WindowSize window_size() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return {};
  return {size.ws_row, size.ws_col};
}

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno(errno, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
  return {};
}

Result<UniqueFd> connect_to(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "the host does not answer");
  }
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

class Client {
 public:
  Client(const ClientOptions& options, int signals) : options_(options), signals_(signals) {}

  // False in `started` afterwards: the host went away before it ran anything, so trying again
  // runs nothing twice.
  [[nodiscard]] Result<int> run() {
    QMASQ_ASSIGN(connection_, connect_to(options_.port));
    QMASQ_TRY(write_all(connection_.get(), encode_start(options_.request)));
    while (true) {
      QMASQ_ASSIGN(const std::optional<int> code, step());
      if (code) return *code;
    }
  }
  [[nodiscard]] bool started() const { return started_; }

 private:
  [[nodiscard]] Result<std::optional<int>> step() {
    const bool reading = options_.forward_stdin && started_ && !stdin_ended_;
    std::array<pollfd, 4> polled{{{connection_.get(), POLLIN, 0},
                                  {signals_, POLLIN, 0},
                                  {reading ? STDIN_FILENO : -1, POLLIN, 0},
                                  {STDOUT_FILENO, 0, 0}}};
    int timeout = -1;
    if (deadline_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - Clock::now());
      if (left.count() <= 0) return 128 + last_signal_;
      timeout = static_cast<int>(left.count()) + 1;
    }
    if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    // Whoever read the output is gone: a command that says nothing must end as well.
    if (polled[3].revents & POLLERR) return 128 + SIGPIPE;
    if (polled[1].revents != 0) {
      QMASQ_ASSIGN(const std::optional<int> code, take_signal());
      if (code) return code;
    }
    if (polled[2].revents != 0) QMASQ_TRY(take_stdin());
    if (polled[0].revents != 0) return take_frames();
    return std::nullopt;
  }

  [[nodiscard]] Result<std::optional<int>> take_signal() {
    signalfd_siginfo info;
    if (::read(signals_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) {
      return std::nullopt;
    }
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGWINCH) {
      if (options_.request.terminal && started_) {
        QMASQ_TRY(write_all(connection_.get(), encode_window(window_size())));
      }
      return std::nullopt;
    }
    if (last_signal_ != 0 || !started_) return 128 + signal;
    last_signal_ = signal;
    if (signal == SIGTERM || signal == SIGHUP) deadline_ = Clock::now() + kGrace;
    QMASQ_TRY(write_all(connection_.get(),
                        encode_u8(FrameType::kSignal, static_cast<std::uint8_t>(signal))));
    return std::nullopt;
  }

  [[nodiscard]] Status take_stdin() {
    std::array<std::byte, kBlock> block;
    const ssize_t size = ::read(STDIN_FILENO, block.data(), block.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return {};
    if (size > 0) {
      return write_all(
          connection_.get(),
          encode_frame(FrameType::kStdin, std::span(block).first(static_cast<std::size_t>(size))));
    }
    stdin_ended_ = true;
    return write_all(connection_.get(), encode_frame(FrameType::kStdinEof, {}));
  }

  [[nodiscard]] Result<std::optional<int>> take_frames() {
    std::array<std::byte, kBlock> block;
    const ssize_t size = ::recv(connection_.get(), block.data(), block.size(), 0);
    if (size <= 0) {
      return fail(Code::kUnavailable, started_ ? "the host was lost while the command ran"
                                               : "the host does not answer");
    }
    reader_.feed(std::span(block).first(static_cast<std::size_t>(size)));
    while (true) {
      QMASQ_ASSIGN(const std::optional<Frame> frame, reader_.next());
      if (!frame) return std::nullopt;
      switch (frame->type) {
        case FrameType::kStarted:
          started_ = true;
          if (!options_.forward_stdin) {
            QMASQ_TRY(write_all(connection_.get(), encode_frame(FrameType::kStdinEof, {})));
          }
          break;
        case FrameType::kFailed:
          started_ = true;  // it answered: no use in asking again
          return fail(
              Code::kInternal,
              "refused: " + std::string(reinterpret_cast<const char*>(frame->payload.data()),
                                        frame->payload.size()));
        case FrameType::kStdout:
          QMASQ_TRY(write_all(STDOUT_FILENO, frame->payload));
          break;
        case FrameType::kStderr:
          QMASQ_TRY(write_all(STDERR_FILENO, frame->payload));
          break;
        case FrameType::kExited: {
          QMASQ_ASSIGN(const std::uint8_t code, decode_u8(frame->payload));
          return code;
        }
        default:
          return fail(Code::kInternal, "the host sent a frame that makes no sense");
      }
    }
  }

  const ClientOptions& options_;
  const int signals_;
  UniqueFd connection_;
  FrameReader reader_;
  bool started_ = false;
  bool stdin_ended_ = false;
  int last_signal_ = 0;
  std::optional<Clock::time_point> deadline_;
};

}  // namespace

Result<int> run_on_host(ClientOptions options) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH})
    ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals.valid()) return fail_errno(errno, "signalfd");
  options.request.window = window_size();
  std::optional<RawTerminal> raw;
  if (options.request.terminal) raw.emplace();

  const auto until = Clock::now() + options.wait;
  while (true) {
    Client client(options, signals.get());
    auto code = client.run();
    if (code || client.started() || Clock::now() >= until) return code;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace qmasq::lab
