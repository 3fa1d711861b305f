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

TEST(PlanCheck, TakesTheMiddleOfTheTriesDuringWhichTheMachineDidNotChange) {
  const PlanCheck::Row row =
      settled({{3, 1, 1.1, 0.2}, {900, 1, 2.0, 5}, {2, 1, 1.0, 0.1}, {4, 1, 1.2, 1}});
  EXPECT_EQ(row.measured, 3);
  EXPECT_EQ(row.apart, 1.1);
  EXPECT_EQ(row.tries, 3);
  EXPECT_EQ(row.scatter, 2);
  EXPECT_FALSE(row.otherwise);
}

// A try that took twice as long on a machine that was half as quick was no longer.
TEST(PlanCheck, OrdersTriesByWhatWasPredictedForTheirCondition) {
  const PlanCheck::Row row = settled({{10, 10, 1, 0}, {30, 20, 1, 0}, {9, 10, 1, 0}});
  EXPECT_EQ(row.measured, 10);
  EXPECT_EQ(row.predicted, 10);
  EXPECT_NEAR(row.scatter, 1.5 / 0.9, 1e-12);
}

TEST(PlanCheck, OfAnEvenNumberTakesTheShorterOfTheMiddle) {
  EXPECT_EQ(settled({{9, 1, 1, 0}, {5, 1, 1, 0}}).measured, 5);
  EXPECT_EQ(settled({{9, 1, 1, 0}, {5, 1, 1, 0}, {6, 1, 1, 0}, {7, 1, 1, 0}}).measured, 6);
}

TEST(PlanCheck, TakesTheTryDuringWhichItChangedLeastIfItAlwaysDid) {
  const PlanCheck::Row row = settled({{5, 1, 3.0, 9}, {7, 1, 1.5, 1.5}, {1, 1, 2.0, 4}});
  EXPECT_EQ(row.measured, 7);
  EXPECT_EQ(row.apart, 1.5);
  EXPECT_EQ(row.tries, 1);
  EXPECT_EQ(row.scatter, 1);
  EXPECT_TRUE(row.otherwise);
}

}  // namespace
}  // namespace shoal::bench
