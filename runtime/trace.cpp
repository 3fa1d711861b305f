#include <shoal/runtime/trace.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <vector>

namespace shoal::trace {
namespace {

struct Event {
  const char* name;
  std::int64_t start_ns;
  std::int64_t duration_ns;
  Bytes bytes;
  Category category;
  bool message = false;  // one of several that may be under way at a time
};

struct Recorder {
  std::mutex mutex;
  std::vector<Event> events;
  std::int64_t origin_ns = 0;
};

// Long runs stop recording rather than fill the memory: 4 million events are some 160 MB.
constexpr std::size_t most_events = 4'000'000;

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

std::atomic<bool> active{false};
std::atomic<std::int64_t> communication_ns{0};
thread_local int communication_depth = 0;
thread_local bool beside = false;

const char* track_name(Category category) {
  switch (category) {
    case Category::compute: return "compute";
    case Category::communication: return "communication";
    case Category::io: return "io";
    case Category::overlapped: return "overlapped communication";
  }
  return "?";
}

void keep(const Event& event) noexcept {
  if (!active.load(std::memory_order_relaxed)) return;
  Recorder& to = recorder();
  const std::lock_guard lock(to.mutex);
  if (to.events.size() < most_events) to.events.push_back(event);
}

}  // namespace

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Span::Span(const char* name, Category category, Bytes bytes) noexcept
    : name_(name), start_ns_(0), bytes_(bytes), category_(category) {
  if (category == Category::communication && communication_depth++ > 0) return;
  if (category == Category::communication || active.load(std::memory_order_relaxed)) {
    start_ns_ = now_ns();
  }
}

Span::~Span() {
  if (category_ == Category::communication && --communication_depth > 0) return;
  if (start_ns_ == 0) return;
  const std::int64_t duration = now_ns() - start_ns_;
  if (category_ == Category::communication) {
    if (beside) {
      category_ = Category::overlapped;
    } else {
      communication_ns.fetch_add(duration, std::memory_order_relaxed);
    }
  }
  keep({name_, start_ns_, duration, bytes_, category_});
}

void record_message(const char* name, std::int64_t start_ns, Bytes bytes) noexcept {
  keep({name, start_ns, now_ns() - start_ns, bytes, Category::overlapped, true});
}

bool recording() noexcept { return active.load(std::memory_order_relaxed); }

void start() {
  recorder().origin_ns = now_ns();
  active = true;
}

Seconds communication_time() noexcept {
  return std::chrono::nanoseconds(communication_ns.load(std::memory_order_relaxed));
}

void work_beside() noexcept { beside = true; }

std::string events_json(int rank) {
  Recorder& from = recorder();
  const std::lock_guard lock(from.mutex);
  std::string text;
  char line[320];
  const auto append = [&](int length) {
    if (!text.empty()) text += ",\n";
    text.append(line, static_cast<std::size_t>(length));
  };
  append(std::snprintf(line, sizeof line,
                       R"({"ph":"M","name":"process_name","pid":%d,"args":{"name":"rank %d"}})",
                       rank, rank));
  for (const Category category : {Category::compute, Category::communication, Category::io,
                                  Category::overlapped}) {
    append(std::snprintf(line, sizeof line,
                         R"({"ph":"M","name":"thread_name","pid":%d,"tid":%d,"args":{"name":"%s"}})",
                         rank, static_cast<int>(category), track_name(category)));
  }
  std::size_t number = 0;
  for (const Event& event : from.events) {
    ++number;
    if (event.message) {
      // Asynchronous events, which a viewer puts beside each other.
      const double start = static_cast<double>(event.start_ns - from.origin_ns) * 1e-3;
      append(std::snprintf(
          line, sizeof line,
          R"({"ph":"b","name":"%s","cat":"message","id":%zu,"pid":%d,"tid":%d,"ts":%.3f,"args":{"bytes":%zu}})",
          event.name, number, rank, static_cast<int>(event.category), start, event.bytes));
      append(std::snprintf(
          line, sizeof line,
          R"({"ph":"e","name":"%s","cat":"message","id":%zu,"pid":%d,"tid":%d,"ts":%.3f})",
          event.name, number, rank, static_cast<int>(event.category),
          start + static_cast<double>(event.duration_ns) * 1e-3));
      continue;
    }
    append(std::snprintf(
        line, sizeof line,
        R"({"ph":"X","name":"%s","cat":"%s","pid":%d,"tid":%d,"ts":%.3f,"dur":%.3f,"args":{"bytes":%zu}})",
        event.name, track_name(event.category), rank, static_cast<int>(event.category),
        static_cast<double>(event.start_ns - from.origin_ns) * 1e-3,
        static_cast<double>(event.duration_ns) * 1e-3, event.bytes));
  }
  return text;
}

}  // namespace shoal::trace
