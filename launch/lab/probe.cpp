#include "probe.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {
namespace {

constexpr Seconds patience{3.0};  // for a connection, and between two packets
constexpr int round_trips = 100;
constexpr Seconds round_trips_limit{0.2};

double clock_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void sleep_until(double moment) {
  const double left = moment - steady_now();
  if (left > 0) std::this_thread::sleep_for(Seconds(left));
}

// About 20 us of multiplying and adding; the result keeps the compiler from leaving it out.
double unit_of_work(double x) {
  double sums[4] = {x, x + 1, x + 2, x + 3};
  for (int i = 0; i < 8000; ++i) {
    for (double& sum : sums) sum = sum * 0.999999 + 1e-6;
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

[[noreturn]] void fail(const char* what) {
  throw Error("lab calibrate", std::string(what) + ": " + std::strerror(errno));
}

void set_limits(int fd) {
  const timeval limit{static_cast<time_t>(patience.count()), 0};
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

sockaddr_in socket_address(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  return to;
}

Descriptor call(const std::string& address, int port) {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_limits(fd.get());
  const sockaddr_in to = socket_address(address, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  return fd;
}

Descriptor take_call(int listener) {
  Descriptor fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) fail("accept");
  set_limits(fd.get());
  return fd;
}

double median_round_trip(int fd) {
  std::vector<double> times;
  char byte = 0;
  const double deadline = steady_now() + round_trips_limit.count();
  while (times.size() < round_trips && (times.empty() || steady_now() < deadline)) {
    const double start = steady_now();
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) fail("round trip");
    times.push_back(steady_now() - start);
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

void echo_until_closed(int fd) {
  char byte = 0;
  while (recv(fd, &byte, 1, 0) == 1) {
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) return;
  }
}

// Sends on one connection and receives on the other at the same time.
double stream(int out, int in, const LinkTimes& times) {
  const double begin = steady_now();
  const double first = begin + times.skip.count();
  const double last = first + times.measure.count();
  std::atomic<bool> done{false};
  std::thread sender([&] {
    const std::vector<char> block(64 << 10, 'x');
    while (!done && send(out, block.data(), block.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  std::vector<char> block(256 << 10);
  double counted = 0;
  double from = 0;
  double until = 0;
  for (;;) {
    const ssize_t n = recv(in, block.data(), block.size(), 0);
    const double now = steady_now();
    if (n <= 0) break;
    if (now < first) continue;
    if (from == 0) {
      from = now;  // what has come until now belongs to the time before
    } else {
      counted += static_cast<double>(n);
      until = now;
    }
    if (now > last) break;
  }
  done = true;
  shutdown(out, SHUT_RDWR);  // wakes the sender
  sender.join();
  return until > from ? 8 * counted / (until - from) : 0;
}

}  // namespace

double steady_now() { return clock_seconds(CLOCK_MONOTONIC); }

double core_rate(Seconds duration) {
  const double start = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
  double x = 0;
  int units = 0;
  double used = 0;
  while (used < duration.count()) {
    x = unit_of_work(x);
    ++units;
    used = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
  }
  return x < 0 ? 0 : units / used;
}

double host_rate(int threads, double start, Seconds duration) {
  std::vector<double> rates(static_cast<std::size_t>(threads), 0.0);
  std::vector<std::thread> workers;
  for (double& rate : rates) {
    workers.emplace_back([&rate, start, duration] {
      sleep_until(start);
      const double begin = steady_now();
      double x = 0;
      int units = 0;
      double now = begin;
      while (now < start + duration.count()) {
        x = unit_of_work(x);
        ++units;
        now = steady_now();
      }
      rate = x < 0 || now <= begin ? 0 : units / (now - begin);
    });
  }
  for (std::thread& worker : workers) worker.join();
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

Descriptor listen_on(const std::string& address, int& port) {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at = socket_address(address, 0);
  socklen_t length = sizeof at;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      listen(fd.get(), 4) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &length) != 0) {
    fail("listen");
  }
  set_limits(fd.get());
  port = ntohs(at.sin_port);
  return fd;
}

LinkResult link_answer(int listener, const LinkTimes& times) {
  {
    const Descriptor echo = take_call(listener);
    echo_until_closed(echo.get());
  }
  const Descriptor in = take_call(listener);
  const Descriptor out = take_call(listener);
  return {stream(out.get(), in.get(), times), 0};
}

LinkResult link_call(const std::string& address, int port, const LinkTimes& times) {
  LinkResult result;
  result.round_trip = median_round_trip(call(address, port).get());
  const Descriptor out = call(address, port);
  const Descriptor in = call(address, port);
  result.bits_per_s = stream(out.get(), in.get(), times);
  return result;
}

}  // namespace shoal::launch::lab
