// What each rank did when: a Chrome/Perfetto trace, and the time spent in communication.
#pragma once

#include <cstdint>
#include <string>

#include <shoal/runtime/units.hpp>

namespace shoal::trace {

/// Kinds of work, on separate tracks of each rank. `overlapped` is communication of a thread that works
/// beside the computing one.
enum class Category : std::uint8_t { compute, communication, io, overlapped };

/// Times a scope. Recorded in the trace if one is being written; the time of outermost
/// communication spans is counted always. `name` must be a string literal.
class Span {
 public:
  Span(const char* name, Category category, Bytes bytes = 0) noexcept;
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  ~Span();

 private:
  const char* name_;
  std::int64_t start_ns_;
  Bytes bytes_;
  Category category_;
};

/// True while events are being recorded.
bool recording() noexcept;
/// Starts recording events (the Runtime does so when it was given a trace file).
void start();
/// Time this process has spent in communication spans since it started, those of threads that work
/// beside the computing one not counted.
Seconds communication_time() noexcept;
/// From now on communication spans of the calling thread are `overlapped`.
void work_beside() noexcept;

/// The clock of the trace, in nanoseconds.
std::int64_t now_ns() noexcept;
/// Records a message that was under way from `start_ns` (of now_ns()) until now, beside whatever
/// the rank did meanwhile: those overlap. `name` must be a string literal.
void record_message(const char* name, std::int64_t start_ns, Bytes bytes) noexcept;

/// This rank's events so far as Chrome trace-event objects, comma separated, with `rank` as process
/// id; times relative to `start()`.
std::string events_json(int rank);

}  // namespace shoal::trace
