#include "tune/condition.hpp"

#include <algorithm>
#include <chrono>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/gemm.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

constexpr double probe_seconds = 0.02;  // for a figure
constexpr Index probe_side = 256;
constexpr Index probe_elements = Index{1} << 19;
constexpr Index probe_pool = Index{8} << 20;  // floats: more than the caches of a core

double apart(double a, double b) { return std::max(a / b, b / a); }

double of_probes(const std::vector<Probe>& probes, double Probe::*figure) {
  std::vector<double> values;
  for (const Probe& each : probes) values.push_back(each.*figure);
  return median(values);
}

double meeting_seconds(const Communicator& world) {
  constexpr int calls = 40;
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    barrier(world);
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  double seconds = median(times);
  all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
  return seconds;
}

}  // namespace

ConditionProbe::ConditionProbe(const Communicator& world)
    : sampler_(world, probe_seconds), pool_(probe_pool) {}

Probe ConditionProbe::take() {
  Probe probe;
  probe.product = sampler_.time([&] {
    const float* a = pool_.take(probe_side * probe_side);
    const float* b = pool_.take(probe_side * probe_side);
    kernels::gemm(kernels::Trans::no, kernels::Trans::yes, probe_side, probe_side, probe_side, 1.0f, a,
                  probe_side, b, probe_side, 0.0f, pool_.take(probe_side * probe_side), probe_side);
  });
  probe.stream = sampler_.time([&] {
    const float* a = pool_.take(probe_elements);
    const float* b = pool_.take(probe_elements);
    kernels::add(probe_elements, a, b, pool_.take(probe_elements));
  });
  constexpr double shortest = 1e-9;
  probe.meeting = std::max(meeting_seconds(sampler_.world()), shortest);
  taken_.push_back(probe);
  return probe;
}

Probe middle_of(const std::vector<Probe>& probes) {
  return {of_probes(probes, &Probe::product), of_probes(probes, &Probe::stream),
          of_probes(probes, &Probe::meeting)};
}

double product_apart(const Probe& probe, const Probe& from) {
  return apart(probe.product, from.product);
}

double stream_apart(const Probe& probe, const Probe& from) {
  return apart(probe.stream, from.stream);
}

double work_apart(const Probe& probe, const Probe& from) {
  return std::max(product_apart(probe, from), stream_apart(probe, from));
}

double meeting_apart(const Probe& probe, const Probe& from) {
  return apart(probe.meeting, from.meeting);
}

planning::Condition condition_of(const std::vector<Probe>& probes, const std::string& source) {
  const Probe middle = middle_of(probes);
  double most = 1;
  for (const Probe& each : probes) most = std::max(most, work_apart(each, middle));
  planning::Condition condition;
  condition.product_seconds = {middle.product, 'A', source + ": a product of 256"};
  condition.stream_seconds = {middle.stream, 'A', source + ": a sum of 2^19 numbers"};
  condition.meeting_seconds = {middle.meeting, 'A', source + ": a barrier"};
  condition.apart = {most, 'A', "how many times the probes differed from their middle"};
  return condition;
}

Probe probe_of(const planning::Condition& condition) {
  return {condition.product_seconds, condition.stream_seconds, condition.meeting_seconds};
}

}  // namespace shoal::bench
