#include "spec.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {
namespace {

struct Quantity {
  double value = 0;
  std::string unit;
};

// "2.5gbit" as 2.5 and "gbit"; nothing if no number leads, or none that is finite and at least 0.
std::optional<Quantity> split(const std::string& text) {
  const std::size_t end = text.find_first_not_of("0123456789.");
  const std::string digits = text.substr(0, end);
  if (digits.empty() || digits.size() > 20 || digits == "." ||
      std::count(digits.begin(), digits.end(), '.') > 1) {
    return std::nullopt;
  }
  return Quantity{std::strtod(digits.c_str(), nullptr),
                  end == std::string::npos ? "" : text.substr(end)};
}

// The value times the factor of its unit, within [smallest, largest].
double measure(const char* flag, const std::string& text,
               const std::vector<std::pair<const char*, double>>& units, double smallest,
               double largest, const std::string& example) {
  const std::optional<Quantity> quantity = split(text);
  const auto unit = std::find_if(units.begin(), units.end(), [&](const auto& candidate) {
    return quantity && quantity->unit == candidate.first;
  });
  if (unit == units.end()) {
    throw UsageError(std::string("lab ") + flag, "\"" + text + "\" is not understood",
                     "write " + example);
  }
  const double value = quantity->value * unit->second;
  if (!(value >= smallest && value <= largest)) {
    throw UsageError(std::string("lab ") + flag, "\"" + text + "\" is out of range",
                     "write " + example);
  }
  return value;
}

}  // namespace

std::optional<std::uint64_t> parse_link(const std::string& text) {
  if (text == "none") return std::nullopt;
  // Below 100 kbit a packet takes a tenth of a second, above 400 Gbit no kernel would keep the
  // limit.
  return static_cast<std::uint64_t>(std::llround(
      measure("--link", text, {{"bit", 1.0}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}}, 1e5,
              4e11, "a rate from 100kbit to 400gbit, like 100mbit or 2.5gbit, or none")));
}

Bytes parse_memory(const std::string& text) {
  constexpr double k = 1024;
  return static_cast<Bytes>(measure("--memory", text,
                                    {{"", 1},
                                     {"K", k},
                                     {"M", k * k},
                                     {"G", k * k * k},
                                     {"KiB", k},
                                     {"MiB", k * k},
                                     {"GiB", k * k * k}},
                                    16 * k * k, 1024 * k * k * k * k,
                                    "a size of at least 16M, like 512M or 2G"));
}

Seconds parse_latency(const std::string& text) {
  return Seconds(measure("--latency", text, {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1.0}}, 0.0, 10.0,
                         "a time of at most 10s, like 50us or 1.5ms"));
}

double parse_cpu(const std::string& text) {
  return measure("--cpu", text, {{"", 1.0}}, 0.01, 4096, "cores, at least 0.01, like 0.25 or 2");
}

std::string parse_name(const std::string& text) {
  constexpr std::size_t longest = 20;
  const bool good =
      !text.empty() && text.size() <= longest &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos &&
      text[0] != '-';
  if (!good) {
    throw UsageError("lab --name", "\"" + text + "\" is no name",
                     "use up to 20 small letters, digits and '-'");
  }
  return text;
}

int parse_host(const std::string& text, int hosts) {
  const std::string digits = !text.empty() && text[0] == 'h' ? text.substr(1) : text;
  const bool number = !digits.empty() && digits.size() <= 4 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  const int index = number ? std::atoi(digits.c_str()) : -1;
  if (index < 0 || index >= hosts) {
    throw UsageError("lab", "there is no host \"" + text + "\"",
                     hosts == 1 ? std::string("the only one is h0")
                                : fmt::format("they are h0 to h{}", hosts - 1));
  }
  return index;
}

void apply_override(const std::string& text, std::vector<HostSpec>& hosts) {
  const std::size_t colon = text.find(':');
  const char* form = "write --host 3:cpu=0.1,link=100mbit,memory=1G,latency=1ms";
  if (colon == std::string::npos || colon + 1 == text.size()) {
    throw UsageError("lab --host", "\"" + text + "\" is not understood", form);
  }
  HostSpec& host = hosts[static_cast<std::size_t>(
      parse_host(text.substr(0, colon), static_cast<int>(hosts.size())))];
  std::istringstream parts(text.substr(colon + 1));
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "cpu") {
      host.cpu = parse_cpu(value);
    } else if (key == "link") {
      host.link = parse_link(value);
    } else if (key == "memory") {
      host.memory = parse_memory(value);
    } else if (key == "latency") {
      host.latency = parse_latency(value);
    } else {
      throw UsageError("lab --host", "\"" + part + "\" is not understood", form);
    }
  }
}

std::string host_name(int index) { return "h" + std::to_string(index); }

std::string link_text(const std::optional<std::uint64_t>& link) {
  if (!link) return "unlimited";
  const auto rate = static_cast<double>(*link);
  return rate >= 1e9 ? fmt::format("{:g} Gbit/s", rate * 1e-9)
                     : fmt::format("{:g} Mbit/s", rate * 1e-6);
}

std::vector<double> expected_cpu(const std::vector<HostSpec>& hosts, double cores) {
  // The kernel's scheduler is max-min fair: who wants least is served first, the others share the
  // rest.
  std::vector<std::size_t> order(hosts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto wanted = [&](std::size_t host) { return hosts[host].cpu.value_or(cores); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wanted(a) < wanted(b); });
  std::vector<double> expected(hosts.size());
  double left = cores;
  std::size_t waiting = hosts.size();
  for (const std::size_t host : order) {
    expected[host] = std::min(wanted(host), left / static_cast<double>(waiting));
    left -= expected[host];
    --waiting;
  }
  return expected;
}

}  // namespace shoal::launch::lab
