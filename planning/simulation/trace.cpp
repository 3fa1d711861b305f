// The format is Chrome's: "Trace Event Format" (Google), complete events.
#include <set>

#include <fmt/format.h>
#include <shoal/planning/simulate.hpp>

namespace shoal::planning {

std::string chrome_trace(const std::vector<Span>& spans) {
  std::string text = "{\"traceEvents\":[\n";
  std::set<int> ranks;
  for (const Span& span : spans) ranks.insert(span.rank);
  for (const int rank : ranks) {
    text += fmt::format(
        "{{\"ph\":\"M\",\"pid\":{0},\"name\":\"process_name\",\"args\":{{\"name\":"
        "\"rank {0}\"}}}},\n",
        rank);
  }
  for (const Span& span : spans) {
    text += fmt::format(
        "{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f},\"name\":\"{}\"}},\n",
        span.rank, span.background ? 1 : 0, span.begin * 1e6, span.seconds * 1e6, span.name);
  }
  text += "{\"ph\":\"M\",\"pid\":0,\"name\":\"shoal simulate\"}\n]}\n";
  return text;
}

}  // namespace shoal::planning
