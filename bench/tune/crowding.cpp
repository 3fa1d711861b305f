#include "tune/crowding.hpp"

#include <algorithm>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/planning/kernels.hpp>

#include "timing.hpp"
#include "tune/fresh_collective.hpp"
#include "tune/kernel_rates.hpp"

namespace shoal::bench {
namespace {

using planning::Table;

constexpr Index crowd_side = 256;
constexpr Index crowd_elements = Index{1} << 19;
constexpr Index crowd_pool = Index{8} << 20;  // floats: more than the caches of a core
constexpr double crowd_seconds = 0.1 / rate_passes;
constexpr double exchanged_bytes[] = {64, 16384, 1 << 20};

// What all of them took, over what the first of the table did.
Table relative(std::vector<std::vector<double>> axes, const std::vector<std::vector<double>>& times,
               std::size_t a_row, const std::string& source) {
  Table table{std::move(axes), {}, 'A', source};
  for (std::size_t i = 0; i < times.size(); ++i) {
    table.values.push_back(median(times[i]) / median(times[i % a_row]));
  }
  return table;
}

}  // namespace

CrowdRates::CrowdRates(const Sampler& sampler, const LinkOptions& options)
    : sampler_(sampler), options_(options), pool_(crowd_pool) {
  const int all = sampler.world().size();
  at_work_.push_back(1);
  for (const double ranks : profile_groups(all)) {
    at_work_.push_back(ranks);
    in_pairs_.push_back(ranks - static_cast<int>(ranks) % 2);
  }
  in_pairs_.erase(std::unique(in_pairs_.begin(), in_pairs_.end()), in_pairs_.end());
  products_.resize(at_work_.size());
  streams_.resize(at_work_.size());
  exchanges_.resize(in_pairs_.size() * std::size(exchanged_bytes));
}

void CrowdRates::pass() {
  const Communicator& world = sampler_.world();
  for (std::size_t i = 0; i < at_work_.size(); ++i) {
    const bool works = world.rank() < static_cast<int>(at_work_[i]);
    const Communicator part = world.split(works ? 0 : 1, world.rank(), "profile: at work");
    double seconds[2] = {0, 0};
    if (works) {
      const Sampler of_part(part, crowd_seconds);
      seconds[0] = of_part.time([&] {
        const float* a = pool_.take(crowd_side * crowd_side);
        const float* b = pool_.take(crowd_side * crowd_side);
        kernels::gemm(kernels::Trans::no, kernels::Trans::yes, crowd_side, crowd_side, crowd_side,
                      1.0f, a, crowd_side, b, crowd_side, 0.0f, pool_.take(crowd_side * crowd_side),
                      crowd_side);
      });
      seconds[1] = of_part.time([&] {
        const float* a = pool_.take(crowd_elements);
        const float* b = pool_.take(crowd_elements);
        kernels::add(crowd_elements, a, b, pool_.take(crowd_elements));
      });
    }
    // The others wait here.
    all_reduce(world, seconds, seconds, 2, DType::f64, ReduceOp::max);
    products_[i].push_back(seconds[0]);
    streams_[i].push_back(seconds[1]);
  }
  for (std::size_t i = 0; i < in_pairs_.size(); ++i) {
    const bool works = world.rank() < static_cast<int>(in_pairs_[i]);
    const Communicator pair =
        world.split(works ? world.rank() / 2 : world.size(), world.rank(), "profile: a pair");
    for (std::size_t k = 0; k < std::size(exchanged_bytes); ++k) {
      double seconds = 0;
      barrier(world);
      if (works) {
        seconds =
            FreshCollective(pair, Operation::all_reduce, static_cast<Bytes>(exchanged_bytes[k]))
                .time(crowd_seconds);
      }
      all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
      exchanges_[i * std::size(exchanged_bytes) + k].push_back(seconds);
    }
  }
}

void CrowdRates::put(planning::Device& device) const {
  const std::string& source = options_.source;
  const auto put_table = [&](std::string_view name, Table table) {
    device.measured[std::string(name)] = std::move(table);
  };
  put_table(planning::crowd_products, relative({at_work_}, products_, 1, source));
  put_table(planning::crowd_streams, relative({at_work_}, streams_, 1, source));
  std::vector<double> bytes(std::begin(exchanged_bytes), std::end(exchanged_bytes));
  put_table(planning::crowd_exchanges,
            relative({in_pairs_, bytes}, exchanges_, bytes.size(), source));
}

}  // namespace shoal::bench
