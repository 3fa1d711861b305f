#include <shoal/runtime/flight_recorder.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <exception>
#include <mutex>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/runtime/settings.hpp>

#include "communicator_impl.hpp"
#include "flight_log.hpp"

namespace shoal::flight {
namespace {

constexpr std::size_t slots = 64;

enum State : std::uint32_t { started = 1, done = 2, failed = 3 };

// Every field is an atomic of its own, so that the watch may read while the owner writes; `number`
// is 0 while a slot is being filled and tells the reader whether what it read belongs together.
struct alignas(128) Slot {
  std::atomic<std::uint64_t> number{0};
  std::atomic<std::uint64_t> sequence{0};
  std::atomic<const char*> operation{nullptr};
  std::atomic<const char*> communicator{nullptr};
  std::atomic<const char*> algorithm{nullptr};
  std::atomic<Index> count{-1};
  std::atomic<std::int64_t> start_ns{0};
  std::atomic<Rank> peer{-1};
  std::atomic<std::uint32_t> kind{0};  // type, op, reduces
  std::atomic<std::uint32_t> state{0};
};

std::array<Slot, slots> ring;
std::atomic<std::uint64_t> last_number{0};

constexpr auto relaxed = std::memory_order_relaxed;

Slot& slot_of(std::uint64_t number) { return ring[number % slots]; }

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

const char* name_of_state(std::uint32_t state) {
  return state == started ? "started" : state == done ? "done" : "failed";
}

// False if the slot was overwritten meanwhile.
bool read(std::uint64_t number, Entry& entry) {
  Slot& slot = slot_of(number);
  if (slot.number.load(std::memory_order_acquire) != number) return false;
  const std::uint64_t sequence = slot.sequence.load(relaxed);
  const char* operation = slot.operation.load(relaxed);
  const char* communicator = slot.communicator.load(relaxed);
  const char* algorithm = slot.algorithm.load(relaxed);
  const Index count = slot.count.load(relaxed);
  const std::int64_t start = slot.start_ns.load(relaxed);
  const Rank peer = slot.peer.load(relaxed);
  const std::uint32_t kind = slot.kind.load(relaxed);
  const std::uint32_t state = slot.state.load(relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (slot.number.load(relaxed) != number) return false;

  entry.sequence = sequence;
  entry.operation = operation;
  entry.communicator = communicator;
  entry.algorithm = algorithm;
  entry.count = count;
  entry.type = count < 0 ? "" : name_of(static_cast<DType>(kind & 0xff));
  entry.op = (kind & 0x10000) != 0 ? name_of(static_cast<ReduceOp>(kind >> 8 & 0xff)) : "";
  entry.peer = peer;
  entry.state = name_of_state(state);
  entry.age = static_cast<double>(now_ns() - start) * 1e-9;
  entry.started =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count() -
      entry.age;
  return true;
}

struct Folder {
  std::mutex mutex;
  std::filesystem::path given;
};

Folder& folder() {
  static Folder instance;
  return instance;
}

}  // namespace

Scope::Scope(const Communicator& comm, const Call& call) noexcept
    : sequence_(call.collective ? comm.impl().collectives.fetch_add(1, relaxed) + 1 : 0),
      number_(last_number.fetch_add(1, relaxed) + 1),
      exceptions_(std::uncaught_exceptions()) {
  Slot& slot = slot_of(number_);
  slot.number.store(0, relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  slot.sequence.store(sequence_, relaxed);
  slot.operation.store(call.operation, relaxed);
  slot.communicator.store(comm.impl().recorded_name, relaxed);
  slot.algorithm.store(call.algorithm, relaxed);
  slot.count.store(call.count, relaxed);
  slot.start_ns.store(now_ns(), relaxed);
  slot.peer.store(call.peer, relaxed);
  slot.kind.store(static_cast<std::uint32_t>(call.type) | static_cast<std::uint32_t>(call.op) << 8 |
                      (call.reduces ? 0x10000u : 0u),
                  relaxed);
  slot.state.store(started, relaxed);
  slot.number.store(number_, std::memory_order_release);
}

Scope::~Scope() {
  Slot& slot = slot_of(number_);
  if (slot.number.load(relaxed) != number_) return;  // 64 calls ago
  slot.state.store(std::uncaught_exceptions() > exceptions_ ? failed : done, relaxed);
}

void Scope::set_algorithm(const char* name) noexcept {
  Slot& slot = slot_of(number_);
  if (slot.number.load(relaxed) == number_) slot.algorithm.store(name, relaxed);
}

void set_folder(const std::filesystem::path& path) {
  Folder& where = folder();
  const std::lock_guard lock(where.mutex);
  where.given = path;
}

std::string Entry::text() const {
  std::string made = operation;
  if (sequence > 0) made += " #" + std::to_string(sequence);
  if (sequence == 0 && peer >= 0) made += " with rank " + std::to_string(peer);
  made += " over " + communicator;
  if (count >= 0) made += " (" + std::to_string(count) + " " + type + ")";
  return made;
}

nlohmann::ordered_json to_json(const Entry& entry) {
  nlohmann::ordered_json json;
  json["operation"] = entry.operation;
  json["communicator"] = entry.communicator;
  json["sequence"] = entry.sequence;
  json["state"] = entry.state;
  json["algorithm"] = entry.algorithm;
  json["count"] = entry.count;
  json["type"] = entry.type;
  json["op"] = entry.op;
  json["peer"] = entry.peer;
  json["started"] = entry.started;
  json["age"] = entry.age;
  return json;
}

Entry entry_of(const nlohmann::ordered_json& json) {
  Entry entry;
  json.at("operation").get_to(entry.operation);
  json.at("communicator").get_to(entry.communicator);
  json.at("sequence").get_to(entry.sequence);
  json.at("state").get_to(entry.state);
  json.at("algorithm").get_to(entry.algorithm);
  json.at("count").get_to(entry.count);
  json.at("type").get_to(entry.type);
  json.at("op").get_to(entry.op);
  json.at("peer").get_to(entry.peer);
  json.at("started").get_to(entry.started);
  json.at("age").get_to(entry.age);
  return entry;
}

std::vector<Entry> entries() {
  std::vector<Entry> all;
  const std::uint64_t last = last_number.load(std::memory_order_acquire);
  for (std::uint64_t number = last > slots ? last - slots + 1 : 1; number <= last; ++number) {
    Entry entry;
    if (read(number, entry)) all.push_back(std::move(entry));
  }
  return all;
}

bool latest(Entry& entry) {
  const std::vector<Entry> all = entries();
  if (all.empty()) return false;
  entry = all.back();
  // A call that consists of others is still under way when the last of those is done.
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    if (it->state != "started") continue;
    entry = *it;
    break;
  }
  return true;
}

std::filesystem::path new_file() {
  const std::string& wish = settings().flight_recorder;
  if (wish == "off") return {};
  std::filesystem::path where = wish;
  if (where.empty()) {
    Folder& given = folder();
    const std::lock_guard lock(given.mutex);
    where = given.given;
  }
  if (where.empty()) {
    std::error_code none;
    where = std::filesystem::temp_directory_path(none);
  }
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::array<char, 32> stamp{};
  std::strftime(stamp.data(), stamp.size(), "%Y%m%d-%H%M%S", &parts);
  return where / fmt::format("shoal-flight-{}-{}.json", stamp.data(), getpid());
}

const char* intern(const std::string& text) {
  static std::mutex mutex;
  // Never freed: the recorder's entries outlive the communicators they name.
  static auto* const texts = new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return texts->insert(text).first->c_str();
}

}  // namespace shoal::flight
