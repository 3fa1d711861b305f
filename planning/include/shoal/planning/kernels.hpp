// The kernels that training consists of, as a measured profile names them, and what each takes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <shoal/planning/profile.hpp>

namespace shoal::planning {

/// How the operands of a product lie: activations by weights (nt), gradients by weights (nn), and
/// gradients by activations (tn), which is a weight's gradient.
enum class Form { nt, nn, tn };
inline constexpr Form all_forms[] = {Form::nt, Form::nn, Form::tn};

/// "product.fp32.nt": by m, n, k; seconds a FLOP.
std::string product_table(std::string_view type, Form form);
/// "attention_forward.fp32": by tokens and width of a head; seconds for tokens² · width of a head of
/// a sequence.
std::string attention_table(std::string_view type, bool backward);

/// A kernel that goes over rows, measured by columns and elements, or over elements; seconds an
/// element.
struct StreamKernel {
  std::string_view name;
  bool by_rows;
};
inline constexpr StreamKernel stream_kernels[] = {
    {"layer_norm_forward", true}, {"layer_norm_backward", true},
    {"add_bias", true},           {"bias_gradient", true},
    {"bias_gelu", true},          {"cross_entropy_forward", true},
    {"cross_entropy_backward", true}, {"embedding_forward", true},
    {"embedding_backward", true}, {"gelu_backward", false},
    {"add", false},               {"fill", false},
    {"dropout", false},           {"sum_of_squares", false},
    {"adamw", false}};

/// Seconds that a byte of a weight, or of its gradient, adds to a product for having been out of the
/// caches since the last step: by the bytes that a rank works with in a step.
inline constexpr std::string_view cold_weights = "cold_weights";
inline constexpr std::string_view cold_gradients = "cold_gradients";

/// How many times as long products and long sums take while so many ranks are at work as with one,
/// by ranks; and exchanges in pairs of ranks as with one pair, by ranks and bytes.
inline constexpr std::string_view crowd_products = "crowd_products";
inline constexpr std::string_view crowd_streams = "crowd_streams";
inline constexpr std::string_view crowd_exchanges = "crowd_exchanges";

/// Extents that the table of this name has; 0: there is no such table.
std::size_t axes_of_kernel(const std::string& name);

/// Seconds of kernels on a measured device. Throw UsageError where the profile lacks the table.
double product_seconds_of(const Device& device, std::string_view type, Form form, double m, double n,
                          double k);
/// What `bytes` of weights (or gradients: `table`) that come from memory add, in a step that works with
/// `footprint` bytes; 0 where the profile does not say.
double cold_seconds_of(const Device& device, std::string_view table, double bytes, double footprint);
double attention_seconds_of(const Device& device, std::string_view type, bool backward,
                            double sequences_and_heads, double tokens, double head_width);
double stream_seconds_of(const Device& device, std::string_view kernel, double rows, double cols);

/// A measured cluster whose processors are in another condition than when it was measured
/// (Condition): products, with attention, take `products` times as long, all other kernels
/// `streams` times. What its ranks exchange stays as it is.
Cluster in_condition(const Cluster& cluster, double products, double streams);

}  // namespace shoal::planning
