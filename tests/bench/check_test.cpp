// What shoal plan --check makes of several tries of a row.
#include <gtest/gtest.h>

#include "plan/check.hpp"

namespace shoal::bench {
namespace {

PlanCheck::Row settled(const std::vector<CheckTry>& tries) {
  PlanCheck::Row row;
  settle(row, tries);
  return row;
}

TEST(PlanCheck, TakesTheMiddleOfTheTriesInTheProfilesCondition) {
  const PlanCheck::Row row = settled({{3, 1.1, 0.2}, {900, 2.0, 5}, {2, 1.0, 0.1}, {4, 1.2, 1}});
  EXPECT_EQ(row.measured, 3);
  EXPECT_EQ(row.apart, 1.1);
  EXPECT_EQ(row.tries, 3);
  EXPECT_EQ(row.scatter, 2);
  EXPECT_FALSE(row.otherwise);
}

TEST(PlanCheck, OfAnEvenNumberTakesTheShorterOfTheMiddle) {
  EXPECT_EQ(settled({{9, 1, 0}, {5, 1, 0}}).measured, 5);
  EXPECT_EQ(settled({{9, 1, 0}, {5, 1, 0}, {6, 1, 0}, {7, 1, 0}}).measured, 6);
}

TEST(PlanCheck, TakesTheTryNearestToItIfNoneWasInIt) {
  const PlanCheck::Row row = settled({{5, 3.0, 9}, {7, 1.5, 1.5}, {1, 2.0, 4}});
  EXPECT_EQ(row.measured, 7);
  EXPECT_EQ(row.apart, 1.5);
  EXPECT_EQ(row.tries, 1);
  EXPECT_EQ(row.scatter, 1);
  EXPECT_TRUE(row.otherwise);
}

}  // namespace
}  // namespace shoal::bench
