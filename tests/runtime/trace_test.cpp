// Law: time in communication is counted once however spans nest, and events name their rank.
#include <shoal/runtime/trace.hpp>

#include <gtest/gtest.h>

namespace shoal::testing {
namespace {

TEST(Trace, CountsOnlyTheOutermostCommunicationSpan) {
  const Seconds before = trace::communication_time();
  {
    const trace::Span outer("outer", trace::Category::communication);
    const trace::Span inner("inner", trace::Category::communication);
    volatile double sink = 0;
    for (int i = 0; i < 100'000; ++i) sink = sink + 1;
  }
  const Seconds counted = trace::communication_time() - before;
  EXPECT_GT(counted.count(), 0);
  trace::start();
  { const trace::Span span("seen", trace::Category::compute, 12); }
  const std::string events = trace::events_json(3);
  EXPECT_NE(events.find("\"seen\""), std::string::npos);
  EXPECT_NE(events.find("\"bytes\":12"), std::string::npos);
  EXPECT_NE(events.find("\"pid\":3"), std::string::npos);
}

}  // namespace
}  // namespace shoal::testing
