#include <shoal/models/generate.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include <shoal/collectives/broadcast.hpp>
#include <shoal/kernels/local/random.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::models {
namespace {

// Apart from the streams of the weights, the dropout and the data.
constexpr std::uint32_t sampling_site = (1u << 31) + 16;

void check(const GenerateOptions& options, std::size_t prompt) {
  const auto fail = [](const std::string& problem, const char* cure) {
    throw UsageError("generate", problem, cure);
  };
  if (prompt == 0) fail("the prompt is empty", "give at least one character");
  if (options.tokens < 0) {
    fail("--max-new-tokens is " + std::to_string(options.tokens), "it must be 0 or more");
  }
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    fail("--temperature is " + std::to_string(options.temperature), "it must be 0 or more");
  }
  if (options.top_k < 0) {
    fail("--top-k is " + std::to_string(options.top_k), "it must be 0 (all) or more");
  }
}

}  // namespace

std::int32_t sample(std::span<const float> logits, double temperature, Index top_k,
                    double uniform) {
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) {
    throw Error("generate", "the model's scores are not numbers",
                "take a checkpoint from before the training diverged");
  }
  // Ties go to the smaller id, so that the choice does not depend on the sorting algorithm.
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  if (temperature <= 0) return *std::min_element(ids.begin(), ids.end(), likelier);
  if (top_k > 0 && top_k < static_cast<Index>(ids.size())) {
    std::nth_element(ids.begin(), ids.begin() + (top_k - 1), ids.end(), likelier);
    ids.resize(static_cast<std::size_t>(top_k));
    std::sort(ids.begin(), ids.end());
  }
  const auto score = [&](std::int32_t id) {
    return static_cast<double>(logits[static_cast<std::size_t>(id)]) / temperature;
  };
  double largest = score(ids.front());
  for (const std::int32_t id : ids) largest = std::max(largest, score(id));
  std::vector<double> cumulative;
  cumulative.reserve(ids.size());
  double sum = 0;
  for (const std::int32_t id : ids) cumulative.push_back(sum += std::exp(score(id) - largest));
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end() - 1, uniform * sum);
  return ids[static_cast<std::size_t>(chosen - cumulative.begin())];
}

std::vector<std::int32_t> generate(Gpt& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options,
                                   const std::function<void(std::int32_t)>& on_token) {
  check(options, prompt.size());
  const Communicator& all = model.mesh().all();
  const Index block = model.config().block_size;
  std::vector<std::int32_t> tokens(prompt.begin(), prompt.end());
  std::vector<float> logits(static_cast<std::size_t>(model.config().vocabulary));
  for (Index i = 0; i < options.tokens; ++i) {
    const Index time = std::min(block, static_cast<Index>(tokens.size()));
    TokenBatch context;
    context.sequences = 1;
    context.time = time;
    context.inputs = tokens.data() + (static_cast<Index>(tokens.size()) - time);
    model.next_token_logits(context, logits);
    const std::uint64_t bits = kernels::random_u64({options.seed, 0, sampling_site},
                                                   static_cast<std::uint64_t>(i));
    std::int32_t next = sample(logits, options.temperature, options.top_k,
                               std::ldexp(static_cast<double>(bits >> 11), -53));
    broadcast(all, &next, 1, DType::i32, 0);
    tokens.push_back(next);
    if (on_token) on_token(next);
  }
  return tokens;
}

}  // namespace shoal::models
