#include <shoal/planning/kernels.hpp>

#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

const Table& table_of(const Device& device, const std::string& name) {
  const auto found = device.measured.find(name);
  if (found == device.measured.end()) {
    throw UsageError("device " + device.name, "its profile has no measurement of " + name,
                     "measure it anew with shoal tune");
  }
  return found->second;
}

std::string_view name_of_form(Form form) {
  return form == Form::nt ? "nt" : form == Form::nn ? "nn" : "tn";
}

}  // namespace

std::string product_table(std::string_view type, Form form) {
  return "product." + std::string(type) + "." + std::string(name_of_form(form));
}

std::string attention_table(std::string_view type, bool backward) {
  return (backward ? "attention_backward." : "attention_forward.") + std::string(type);
}

std::size_t axes_of_kernel(const std::string& name) {
  for (const char* type : {"fp32", "bf16"}) {
    for (const Form form : all_forms) {
      if (name == product_table(type, form)) return 3;
    }
    for (const bool backward : {false, true}) {
      if (name == attention_table(type, backward)) return 2;
    }
  }
  if (name == cold_weights || name == cold_gradients) return 1;
  if (name == crowd_products || name == crowd_streams) return 1;
  if (name == crowd_exchanges) return 2;
  for (const StreamKernel& kernel : stream_kernels) {
    if (name == kernel.name) return kernel.by_rows ? 2 : 1;
  }
  return 0;
}

double product_seconds_of(const Device& device, std::string_view type, Form form, double m, double n,
                          double k) {
  return 2 * m * n * k * table_of(device, product_table(type, form)).at({m, n, k});
}

double cold_seconds_of(const Device& device, std::string_view table, double bytes, double footprint) {
  const auto found = device.measured.find(std::string(table));
  return found == device.measured.end() ? 0 : bytes * found->second.at({footprint});
}

double attention_seconds_of(const Device& device, std::string_view type, bool backward,
                            double sequences_and_heads, double tokens, double head_width) {
  return sequences_and_heads * tokens * tokens * head_width *
         table_of(device, attention_table(type, backward)).at({tokens, head_width});
}

double stream_seconds_of(const Device& device, std::string_view kernel, double rows, double cols) {
  const double elements = rows * cols;
  if (elements <= 0) return 0;
  const Table& table = table_of(device, std::string(kernel));
  return elements * (table.axes.size() == 2 ? table.at({cols, elements}) : table.at({elements}));
}

}  // namespace shoal::planning
