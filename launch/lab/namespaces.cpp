#include "namespaces.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "cgroup.hpp"

namespace shoal::launch::lab {
namespace {

constexpr char order_build = 'b';
constexpr char order_stay = 's';
constexpr int set_up_limit_ms = 20000;

bool read_order(int orders, char expected) {
  char order = 0;
  ssize_t n = 0;
  do {
    n = read(orders, &order, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1 && order == expected;
}

void order(int fd, char word) {
  if (write(fd, &word, 1) != 1) throw Error("lab up", "the process of a host has gone");
}

// In the new process, in its namespaces. What fails is told through `answers`.
class Builder {
 public:
  explicit Builder(int answers) : answers_(answers) {}

  void check(int result, const char* what) const {
    if (result == 0) return;
    const std::string text = fmt::format("{}: {}", what, std::strerror(errno));
    [[maybe_unused]] const ssize_t n = write(answers_, text.data(), text.size());
    _exit(1);
  }

 private:
  int answers_;
};

[[noreturn]] void become_holder(const std::string& lab, const std::string& host, int orders,
                                int answers) {
  if (!read_order(orders, order_build)) _exit(1);
  const Builder builder(answers);
  setsid();  // out of reach of the terminal's Ctrl-C
  builder.check(sethostname(host.c_str(), host.size()), "setting the host name");
  builder.check(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "a private mount table");
  // Like a machine of its own: memory files that no other host sees, and names for all hosts.
  builder.check(mount("shoal-lab", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"),
                "mounting /dev/shm");
  const std::string names = lab_folder(lab) + "/hosts";
  builder.check(mount(names.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr),
                "mounting /etc/hosts");
  // Nothing of the caller may stay open in a process that lives for days, no lock, say.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  fcntl(orders, F_SETFD, 0);
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  if (chdir("/") != 0) _exit(1);
  const std::string fd = std::to_string(orders);
  const std::string who = lab + "/" + host;
  execl("/proc/self/exe", "shoal", "lab", "hold", who.c_str(), "--orders", fd.c_str(), nullptr);
  builder.check(-1, "starting the process that keeps a host");
  _exit(1);
}

void enter_namespace(pid_t pid, const char* name, int type) {
  const std::string path = fmt::format("/proc/{}/ns/{}", pid, name);
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || setns(file.get(), type) != 0) {
    throw Error("lab", fmt::format("cannot enter {}: {}", path, std::strerror(errno)),
                "shoal lab down, then up again");
  }
}

}  // namespace

NewHost::NewHost(const std::string& lab, const std::string& host) {
  Pipe orders = make_pipe();
  Pipe answers = make_pipe();
  // Like fork(): the flags make the child's namespaces.
  const long child =
      syscall(SYS_clone, CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD,
              nullptr, nullptr, nullptr, nullptr);
  if (child < 0) {
    throw Error("lab up", std::string("the kernel makes no namespaces: ") + std::strerror(errno),
                "in a container, allow it to (docker run --privileged)");
  }
  if (child == 0) {
    orders.in.reset();
    answers.out.reset();
    become_holder(lab, host, orders.out.get(), answers.in.get());
  }
  pid_ = static_cast<pid_t>(child);
  orders_ = std::move(orders.in);
  answers_ = std::move(answers.out);
}

NewHost::~NewHost() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void NewHost::build() {
  order(orders_.get(), order_build);
  // Its end of the pipe closes when it becomes another program, or with its last words.
  pollfd ready{answers_.get(), POLLIN, 0};
  int got = 0;
  do {
    got = poll(&ready, 1, set_up_limit_ms);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) throw Error("lab up", "a host is not ready after 20 s");
  std::array<char, 512> text{};
  const ssize_t length = read(answers_.get(), text.data(), text.size());
  if (length > 0) throw Error("lab up", std::string(text.data(), static_cast<std::size_t>(length)));
}

Holder NewHost::stay() {
  const Holder holder = Holder::of(pid_);
  order(orders_.get(), order_stay);
  pid_ = -1;
  return holder;
}

void enter_network(const Holder& holder) { enter_namespace(holder.pid, "net", CLONE_NEWNET); }

void enter(const Lab& lab, int host) {
  const Holder& holder = lab.hosts[static_cast<std::size_t>(host)].holder;
  if (!holder.alive()) lab.require_alive();
  Cgroups().enter(lab.name, host_name(host), getpid());
  std::array<char, PATH_MAX> folder{};
  const bool has_folder = getcwd(folder.data(), folder.size()) != nullptr;
  enter_network(holder);
  enter_namespace(holder.pid, "uts", CLONE_NEWUTS);
  enter_namespace(holder.pid, "ipc", CLONE_NEWIPC);
  enter_namespace(holder.pid, "mnt", CLONE_NEWNS);
  if (has_folder && chdir(folder.data()) != 0) {
    throw Error("lab",
                fmt::format("no folder {} in the lab: {}", folder.data(), std::strerror(errno)),
                "start from another folder");
  }
}

void hold(int orders) {
  signal(SIGHUP, SIG_IGN);
  if (!read_order(orders, order_stay)) _exit(0);
  close(orders);
  for (;;) pause();
}

}  // namespace shoal::launch::lab
