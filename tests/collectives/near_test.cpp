// The rule by which a connection's send buffer is bounded: a function of its least round trip alone.
#include <gtest/gtest.h>

#include <climits>

#include <plan/segments.hpp>
#include <tcp/near.hpp>

namespace shoal::tcp {
namespace {

constexpr int kibi = 1024;
constexpr unsigned furthest = 39;  // microseconds in which 40 Gbit/s carry 192 KiB, in whole ones

TEST(SendBuffer, IsNotBoundedWhereTheRoundTripIsNotKnown) { EXPECT_EQ(send_buffer_bytes(0), 0); }

TEST(SendBuffer, IsNotBoundedWhereThePeerIsFurtherThanTheBoundCovers) {
  for (const unsigned far : {furthest + 1, 100u, 1000u, 1000000u, UINT_MAX}) {
    EXPECT_EQ(send_buffer_bytes(far), 0) << far;
  }
}

TEST(SendBuffer, HoldsASegmentAndWhatIsUnderWayWithinWhatSystemsAllow) {
  for (unsigned round_trip = 1; round_trip <= furthest; ++round_trip) {
    const int bytes = send_buffer_bytes(round_trip);
    // 5000 bytes a microsecond are 40 Gbit/s.
    EXPECT_GE(bytes, static_cast<int>(round_trip) * 5000) << round_trip;
    EXPECT_GE(bytes, static_cast<int>(most_segment_bytes())) << round_trip;
    EXPECT_LE(bytes, 208 * kibi) << round_trip;  // net.core.wmem_max, as kernels have it
  }
}

}  // namespace
}  // namespace shoal::tcp
