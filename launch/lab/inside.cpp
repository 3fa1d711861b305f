#include "inside.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>

#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {

Task::Task(const std::function<Numbers()>& work) {
  Pipe pipe = make_pipe();
  out_ = std::move(pipe.out);
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw Error("lab", std::string("fork: ") + std::strerror(errno));
  if (pid == 0) {
    int status = 1;
    try {
      const Numbers numbers = work();
      const std::size_t bytes = numbers.size() * sizeof(double);
      if (write(pipe.in.get(), numbers.data(), bytes) == static_cast<ssize_t>(bytes)) status = 0;
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  child_ = Child(pid);
}

Task::Numbers Task::result(Seconds limit) {
  Numbers numbers;
  if (!child_.wait(limit) || child_.status() != 0) return numbers;
  for (double number = 0; read(out_.get(), &number, sizeof number) == sizeof number;) {
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace shoal::launch::lab
