#include "hosts.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch {
namespace {

constexpr int most_slots = 65536;
constexpr std::size_t most_hosts = 65536;
constexpr std::size_t longest_name = 253;  // RFC 1035
constexpr std::size_t largest_file = std::size_t{16} << 20;

constexpr std::string_view blanks = " \t\r\v\f";

// Damaged files hold bytes that a terminal should not get.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 40)) out += c >= ' ' && c < 127 ? c : '?';
  return text.size() > 40 ? out + "..." : out;
}

bool is_name(std::string_view text) {
  // A leading dash would be an option to ssh.
  if (text.empty() || text.size() > longest_name || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

std::optional<int> parse_slots(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < 1 || value > most_slots) return std::nullopt;
  return value;
}

// Hosts in the order they first came.
class HostSet {
 public:
  explicit HostSet(std::string source) : source_(std::move(source)) {}

  // `where` is empty or " line 3".
  void add(std::string_view name, std::optional<std::string_view> slots, const std::string& where) {
    if (!is_name(name)) {
      throw UsageError(source_ + where, "\"" + shown(name) + "\" is not a host name",
                       "use letters, digits, '.', '-' and '_'");
    }
    Host host{std::string(name), 0};
    if (slots) {
      const std::optional<int> count = parse_slots(*slots);
      if (!count) {
        throw UsageError(source_ + where,
                         fmt::format("{}: \"{}\" is not a number of slots from 1 to {}", host.name,
                                     shown(*slots), most_slots));
      }
      host.slots = *count;
    }
    const auto [place, fresh] = places_.try_emplace(host.name, hosts_.size());
    if (!fresh) {
      Host& known = hosts_[place->second];
      const int total = std::max(1, known.slots) + std::max(1, host.slots);
      known.slots = std::min(total, most_slots);
      return;
    }
    if (hosts_.size() == most_hosts) {
      throw UsageError(source_, fmt::format("more than {} hosts", most_hosts));
    }
    hosts_.push_back(std::move(host));
  }

  std::vector<Host> take() {
    if (hosts_.empty()) throw UsageError(source_, "names no host");
    return std::move(hosts_);
  }

 private:
  std::string source_;
  std::vector<Host> hosts_;
  std::unordered_map<std::string, std::size_t> places_;
};

// Cuts the first word off `line`.
std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(word.size());
  return word;
}

void add_with_colon(HostSet& hosts, std::string_view word, const std::string& where) {
  const auto colon = word.find(':');
  if (colon == std::string_view::npos) return hosts.add(word, std::nullopt, where);
  hosts.add(word.substr(0, colon), word.substr(colon + 1), where);
}

}  // namespace

std::vector<Host> parse_host_list(std::string_view text) {
  HostSet hosts("--hosts");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    add_with_colon(hosts, text.substr(begin, end - begin), "");
    begin = end + 1;
  }
  return hosts.take();
}

std::vector<Host> parse_hostfile(std::string_view text, const std::string& name) {
  HostSet hosts("hostfile " + name);
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    line = line.substr(0, line.find('#'));
    const std::string_view first = next_word(line);
    if (first.empty()) continue;
    const std::string where = fmt::format(" line {}", number);
    std::optional<std::string_view> slots;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      const auto equals = word.find('=');
      const std::string_view key = word.substr(0, equals);
      if (equals == std::string_view::npos ||
          (key != "slots" && key != "max_slots" && key != "max-slots")) {
        throw UsageError("hostfile " + name + where, "\"" + shown(word) + "\" is not understood",
                         "write a host a line, like: node1 slots=4");
      }
      const std::string_view value = word.substr(equals + 1);
      if (key == "slots") {
        slots = value;
      } else if (!parse_slots(value)) {
        throw UsageError("hostfile " + name + where,
                         "\"" + shown(value) + "\" is not a number of slots");
      }
    }
    if (slots) {
      hosts.add(first, slots, where);
    } else {
      add_with_colon(hosts, first, where);
    }
  }
  return hosts.take();
}

std::vector<Host> read_hostfile(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    throw UsageError("hostfile " + file.string(), "is a folder");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw UsageError("hostfile " + file.string(), "cannot be read", "see whether it is there");
  std::string text;
  text.assign(std::istreambuf_iterator<char>(in), {});
  if (text.size() > largest_file) {
    throw UsageError("hostfile " + file.string(), "has more than 16 MiB");
  }
  return parse_hostfile(text, file.string());
}

}  // namespace shoal::launch
