// SPDX-License-Identifier: Apache-2.0
#include "lab/exec/session.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "lab/exec/frame.h"

namespace qmasq::lab {
namespace {

// Past this much waiting data one side is not read until the other has taken some.
constexpr std::size_t kHighWater = 256UL * 1024;
constexpr std::size_t kBlock = 64UL * 1024;
constexpr int kStartTimeoutMs = 10'000;
constexpr int kGraceMs = 2'000;

struct Child {
  pid_t pid = -1;   // also the process group
  UniqueFd exited;  // pidfd
  UniqueFd in;
  UniqueFd out;
  UniqueFd err;
  bool terminal = false;
};

void set_nonblocking(int fd) {
  if (fd >= 0) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool make_pipe(UniqueFd& reader, UniqueFd& writer) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  return true;
}

// In the new process, after fork: never returns.
[[noreturn]] void become_command(const StartRequest& request) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal : {SIGCHLD, SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    ::signal(signal, SIG_DFL);
  }
  for (const std::string& variable : request.environment) {
    if (const auto equals = variable.find('='); equals != std::string::npos) {
      ::setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
    }
  }
  const char* name = request.arguments.front().c_str();
  if (!request.directory.empty() && ::chdir(request.directory.c_str()) != 0) {
    ::dprintf(STDERR_FILENO, "qmasq-lab-exec: %s: %s\n", request.directory.c_str(),
              ::strerror(errno));
    ::_exit(126);
  }
  std::vector<char*> arguments;
  arguments.reserve(request.arguments.size() + 1);
  for (const std::string& argument : request.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  ::execvp(name, arguments.data());
  const int err = errno;
  ::dprintf(STDERR_FILENO, "qmasq-lab-exec: %s: %s\n", name, ::strerror(err));
  ::_exit(err == ENOENT ? 127 : 126);  // as a shell has it
}

Result<Child> start_on_terminal(const StartRequest& request) {
  Child child;
  child.terminal = true;
  winsize size{};
  size.ws_row = request.window.rows;
  size.ws_col = request.window.columns;
  int master = -1;
  child.pid = ::forkpty(&master, nullptr, nullptr, &size);
  if (child.pid < 0) return fail_errno(errno, "cannot open a terminal");
  if (child.pid == 0) become_command(request);
  ::fcntl(master, F_SETFD, FD_CLOEXEC);
  child.out.reset(master);
  child.in.reset(::fcntl(master, F_DUPFD_CLOEXEC, 0));
  return child;
}

Result<Child> start_on_pipes(const StartRequest& request) {
  Child child;
  UniqueFd in;
  UniqueFd out;
  UniqueFd err;
  if (!make_pipe(in, child.in) || !make_pipe(child.out, out) || !make_pipe(child.err, err)) {
    return fail_errno(errno, "cannot make pipes");
  }
  child.pid = ::fork();
  if (child.pid < 0) return fail_errno(errno, "cannot fork");
  if (child.pid == 0) {
    ::setsid();
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(err.get(), STDERR_FILENO);
    become_command(request);
  }
  return child;
}

Result<Child> start(const StartRequest& request) {
  auto child = request.terminal ? start_on_terminal(request) : start_on_pipes(request);
  if (!child) return child;
  child->exited.reset(static_cast<int>(::syscall(SYS_pidfd_open, child->pid, 0)));
  if (!child->exited.valid()) {
    const int err = errno;
    ::kill(-child->pid, SIGKILL);
    return fail_errno(err, "pidfd_open");
  }
  set_nonblocking(child->in.get());
  set_nonblocking(child->out.get());
  set_nonblocking(child->err.get());
  return child;
}

int reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return 255;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

class Session {
 public:
  Session(UniqueFd connection, std::string token)
      : connection_(std::move(connection)), token_(std::move(token)) {}

  int run() {
    set_nonblocking(connection_.get());
    auto request = receive_start();
    if (!request) return refuse(request.error());
    auto child = start(*request);
    if (!child) return refuse(child.error());
    child_ = std::move(*child);
    queue(encode_frame(FrameType::kStarted, {}));
    while (step()) {
    }
    if (!exited_) return end_command();
    finish();
    return 0;
  }

 private:
  [[nodiscard]] Result<StartRequest> receive_start() {
    while (true) {
      QMASQ_ASSIGN(auto frame, reader_.next());
      if (frame) {
        if (frame->type != FrameType::kStart) {
          return fail(Code::kInvalidArgument, "expected a start request");
        }
        QMASQ_ASSIGN(StartRequest request, decode_start(frame->payload));
        if (request.token != token_) return fail(Code::kPermissionDenied, "wrong token");
        return request;
      }
      pollfd waiting{connection_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, kStartTimeoutMs) <= 0 || !receive()) {
        return fail(Code::kUnavailable, "no start request");
      }
    }
  }

  // One round of poll. False when there is nothing more to do: the command ended and its output is
  // queued, or the client is gone.
  bool step() {
    std::vector<pollfd> polled;
    const auto watch = [&polled](int fd, short events) {
      // poll skips negative descriptors; an entry with no events still reports a hang-up.
      polled.push_back({fd, events, 0});
      return polled.size() - 1;
    };
    short wanted = POLLRDHUP;
    if (input_.size() < kHighWater) wanted |= POLLIN;
    if (!output_.empty()) wanted |= POLLOUT;
    const bool room = output_.size() < kHighWater;
    const auto client = watch(connection_.get(), wanted);
    const auto exited = watch(child_.exited.get(), POLLIN);
    const auto in = watch(input_.empty() ? -1 : child_.in.get(), POLLOUT);
    const auto out = watch(room ? child_.out.get() : -1, POLLIN);
    const auto err = watch(room ? child_.err.get() : -1, POLLIN);
    if (::poll(polled.data(), polled.size(), -1) < 0) return errno == EINTR;

    if (polled[client].revents & POLLIN) {
      if (!receive() || !obey()) return false;
    } else if (polled[client].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
      return false;
    }
    if ((polled[client].revents & POLLOUT) && !flush()) return false;
    if (polled[in].revents != 0) feed_command();
    if (polled[out].revents != 0) forward(child_.out, FrameType::kStdout);
    if (polled[err].revents != 0) forward(child_.err, FrameType::kStderr);
    if (polled[exited].revents != 0) {
      // What the command wrote before it ended is in the pipes; a background process that it
      // left behind may hold them open for ever and is not waited for.
      while (forward(child_.out, FrameType::kStdout)) {
      }
      while (forward(child_.err, FrameType::kStderr)) {
      }
      queue(encode_u8(FrameType::kExited, static_cast<std::uint8_t>(reap(child_.pid))));
      exited_ = true;
      return false;
    }
    return true;
  }

  // Reads from the client. False when the connection has ended.
  bool receive() {
    std::array<std::byte, kBlock> block;
    const ssize_t size = ::recv(connection_.get(), block.data(), block.size(), 0);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    reader_.feed(std::span(block).first(static_cast<std::size_t>(size)));
    return size > 0;
  }

  // Carries out the frames that have arrived. False on a frame that makes no sense.
  bool obey() {
    while (true) {
      auto frame = reader_.next();
      if (!frame) return false;
      if (!*frame) return true;
      const auto& payload = (*frame)->payload;
      switch ((*frame)->type) {
        case FrameType::kStdin:
          if (child_.in.valid()) input_.insert(input_.end(), payload.begin(), payload.end());
          break;
        case FrameType::kStdinEof:
          input_ended_ = true;
          feed_command();
          break;
        case FrameType::kSignal: {
          const auto signal = decode_u8(payload);
          if (!signal || *signal == 0 || *signal >= NSIG) return false;
          ::kill(-child_.pid, *signal);
          break;
        }
        case FrameType::kWindowSize: {
          const auto window = decode_window(payload);
          if (!window) return false;
          winsize size{};
          size.ws_row = window->rows;
          size.ws_col = window->columns;
          if (child_.terminal) ::ioctl(child_.out.get(), TIOCSWINSZ, &size);
          break;
        }
        default:
          return false;
      }
    }
  }

  // Writes waiting input to the command; input to one that no longer reads is dropped.
  void feed_command() {
    while (!input_.empty() && child_.in.valid()) {
      const ssize_t size = ::write(child_.in.get(), input_.data(), input_.size());
      if (size < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        child_.in.reset();
        break;
      }
      input_.erase(input_.begin(), input_.begin() + size);
    }
    if (!child_.in.valid()) input_.clear();
    // A terminal has no end of input of its own: that is a character the user types.
    if (input_ended_ && !child_.terminal) child_.in.reset();
  }

  // Queues one block of the command's output. False when there is none at hand.
  bool forward(UniqueFd& source, FrameType type) {
    if (!source.valid()) return false;
    std::array<std::byte, kBlock> block;
    const ssize_t size = ::read(source.get(), block.data(), block.size());
    if (size > 0) {
      queue(encode_frame(type, std::span(block).first(static_cast<std::size_t>(size))));
      return true;
    }
    // A terminal answers EIO when the last process on it is gone.
    if (size == 0 || (errno != EAGAIN && errno != EINTR)) source.reset();
    return false;
  }

  void queue(const std::vector<std::byte>& bytes) {
    output_.insert(output_.end(), bytes.begin(), bytes.end());
  }

  bool flush() {
    const ssize_t size =
        ::send(connection_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    output_.erase(output_.begin(), output_.begin() + size);
    return true;
  }

  // Sends what is queued, then waits for the client to hang up: closing with its bytes unread
  // would reset the connection and could take the last output with it.
  void finish() {
    while (!output_.empty()) {
      pollfd waiting{connection_.get(), POLLOUT, 0};
      if (::poll(&waiting, 1, kStartTimeoutMs) <= 0 || !flush()) return;
    }
    ::shutdown(connection_.get(), SHUT_WR);
    pollfd waiting{connection_.get(), POLLIN, 0};
    while (::poll(&waiting, 1, kGraceMs) > 0 && receive()) {
    }
  }

  int refuse(const Error& error) {
    queue(encode_text(FrameType::kFailed, error.message));
    finish();
    return 1;
  }

  // The client is gone: the command has no reason to stay.
  int end_command() {
    child_.in.reset();
    ::kill(-child_.pid, child_.terminal ? SIGHUP : SIGTERM);
    pollfd waiting{child_.exited.get(), POLLIN, 0};
    ::poll(&waiting, 1, kGraceMs);
    ::kill(-child_.pid, SIGKILL);  // the leader if it is still there, and what it leaves behind
    reap(child_.pid);
    return 1;
  }

  UniqueFd connection_;
  std::string token_;
  FrameReader reader_;
  Child child_;
  std::vector<std::byte> input_;   // for the command
  std::vector<std::byte> output_;  // for the client
  bool input_ended_ = false;
  bool exited_ = false;
};

}  // namespace

int serve_session(UniqueFd connection, const std::string& token) {
  return Session(std::move(connection), token).run();
}

}  // namespace qmasq::lab
