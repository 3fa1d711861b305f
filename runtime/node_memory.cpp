#include <shoal/runtime/node_memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/mpi_interop.hpp>

#include "lent_pages.hpp"
#include "node_heap.hpp"
#include "node_memory_lifetime.hpp"

namespace shoal::node_memory {
namespace {

constexpr Bytes page = 4096;

// Every rank's heap is a memory file (memfd: it has no name, so nothing can be left behind). Peers
// open it through /proc/<pid>/fd. All heaps are mapped side by side in one range of addresses, so
// that finding the owner of a pointer is one division.
class Heaps {
 public:
  Heaps(MPI_Comm node, std::shared_ptr<const WorldTable> table);
  ~Heaps();

  std::string why_not;
  int rank = 0;
  int size = 1;
  std::byte* base = nullptr;
  Bytes heap_bytes = 0;
  std::unique_ptr<NodeHeap> mine;
  std::shared_ptr<const WorldTable> table;
  int file() const noexcept { return fd_; }

 private:
  struct Offer {
    long pid;
    int fd;
    std::uint64_t inode;
  };
  void make_own();
  void map_all(const std::vector<Offer>& offers);

  int fd_ = -1;
  Bytes range_bytes_ = 0;
};

std::string system_text(const std::string& what) { return what + ": " + std::strerror(errno); }

void Heaps::make_own() {
  if (const char* wish = std::getenv("SHOAL_NODE_MEMORY"); wish != nullptr) {
    if (std::string_view(wish) == "off") {
      why_not = "switched off by SHOAL_NODE_MEMORY=off";
      return;
    }
  }
  fd_ = memfd_create("shoal", MFD_CLOEXEC);
  if (fd_ < 0) {
    why_not = system_text("memfd_create");
  } else if (ftruncate(fd_, static_cast<off_t>(heap_bytes)) != 0) {
    why_not = system_text("ftruncate of the memory file");
  }
}

void Heaps::map_all(const std::vector<Offer>& offers) {
  range_bytes_ = heap_bytes * static_cast<Bytes>(size);
  void* range = mmap(nullptr, range_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
  if (range == MAP_FAILED) {
    why_not = system_text("reserving addresses for the node's memory");
    return;
  }
  base = static_cast<std::byte*>(range);
  for (int peer = 0; peer < size; ++peer) {
    const Offer& offer = offers[static_cast<std::size_t>(peer)];
    int fd = fd_;
    if (peer != rank) {
      const std::string path =
          "/proc/" + std::to_string(offer.pid) + "/fd/" + std::to_string(offer.fd);
      fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
      struct stat status {};
      // In another PID namespace the same path would be someone else's file.
      if (fd >= 0 && (fstat(fd, &status) != 0 || status.st_ino != offer.inode)) {
        close(fd);
        fd = -1;
        errno = ENOENT;
      }
      if (fd < 0) {
        why_not = system_text("opening a peer's memory (" + path + ")");
        return;
      }
    }
    void* at = mmap(base + static_cast<Bytes>(peer) * heap_bytes, heap_bytes,
                    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
    if (peer != rank) close(fd);
    if (at == MAP_FAILED) {
      why_not = system_text("mapping a peer's memory");
      return;
    }
    // Huge pages where the system offers them to memory files; a refusal costs nothing.
    madvise(at, heap_bytes, MADV_HUGEPAGE);
    madvise(at, heap_bytes, MADV_DONTDUMP);
  }
}

// MPI's collectives here block without a deadline: the watch ends them where a rank is gone.
Heaps::Heaps(MPI_Comm node, std::shared_ptr<const WorldTable> world_table)
    : table(std::move(world_table)) {
  MPI_Comm_rank(node, &rank);
  MPI_Comm_size(node, &size);
  // Each heap may grow to the whole memory; only addresses are spent in advance. 2^45 bytes of them
  // leave room in the 47 bits a process has.
  const Bytes memory = static_cast<Bytes>(sysconf(_SC_PHYS_PAGES)) * page;
  heap_bytes = std::min(memory, (Bytes{1} << 45) / static_cast<Bytes>(size)) / (2 << 20) * (2 << 20);
  // Cgroups may show ranks different sizes; the layout must be the same for all.
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &heap_bytes, 1, MPI_UINT64_T, MPI_MIN, node),
            "node-shared memory");
  make_own();
  struct stat status {};
  if (fd_ >= 0) fstat(fd_, &status);
  const Offer offer{static_cast<long>(getpid()), fd_, static_cast<std::uint64_t>(status.st_ino)};
  std::vector<Offer> offers(static_cast<std::size_t>(size));
  check_mpi(MPI_Allgather(&offer, sizeof offer, MPI_BYTE, offers.data(), sizeof offer, MPI_BYTE,
                          node),
            "node-shared memory");
  if (why_not.empty()) {
    const bool all_offer =
        std::all_of(offers.begin(), offers.end(), [](const Offer& o) { return o.fd >= 0; });
    if (all_offer) {
      map_all(offers);
    } else {
      why_not = "another rank of the node has none";
    }
  }
  int good = why_not.empty() ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &good, 1, MPI_INT, MPI_MIN, node), "node-shared memory");
  if (!good && why_not.empty()) why_not = "another rank of the node cannot map it";
  if (why_not.empty()) {
    mine = std::make_unique<NodeHeap>(fd_, base + static_cast<Bytes>(rank) * heap_bytes, heap_bytes);
  }
}

Heaps::~Heaps() {
  LentPages::get().heap_ends();
  // Blocks still in use belong to buffers that outlive the Runtime: leave those mapped.
  const bool idle = mine == nullptr || mine->empty();
  if (idle && base != nullptr) munmap(base, range_bytes_);
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<Heaps>& heaps() {
  static std::unique_ptr<Heaps> instance;
  return instance;
}

}  // namespace

void start(MPI_Comm node, std::shared_ptr<const WorldTable> table) {
  heaps() = std::make_unique<Heaps>(node, std::move(table));
}

void stop() noexcept { heaps().reset(); }

bool available() noexcept { return heaps() != nullptr && heaps()->mine != nullptr; }

std::string why_not() {
  if (heaps() == nullptr) return "no shoal::Runtime is alive";
  return heaps()->why_not;
}

void* allocate(Bytes bytes) {
  require_own_process("node-shared memory");
  if (!available()) throw Error("node-shared memory", why_not(), "use private memory");
  return heaps()->mine->allocate(bytes);
}

void release(void* pointer) noexcept {
  if (is_forked_child()) return;  // it is the parent's
  if (available() && pointer != nullptr) heaps()->mine->release(pointer);
}

bool lend(std::span<std::byte> pages, InChild in_child) noexcept {
  if (is_forked_child() || !available() || pages.empty()) return false;
  NodeHeap& heap = *heaps()->mine;
  LentPages::Places freed;
  try {
    void* const place = heap.allocate(pages.size());
    if (!LentPages::get().add(pages, heaps()->file(), *locate(place), in_child, freed)) {
      freed.push_back(*locate(place));
      pages = {};
    }
  } catch (const std::exception&) {
    return false;
  }
  for (const Location& each : freed) heap.release(address(each));
  return !pages.empty();
}

bool take_back(std::span<std::byte> memory, Contents contents) noexcept {
  LentPages::Places freed;
  const bool all = LentPages::get().remove(memory, contents, freed);
  if (available() && !is_forked_child()) {
    for (const Location& each : freed) heaps()->mine->release(address(each));
  }
  return all;
}

std::span<std::byte> own_heap() noexcept {
  if (!available()) return {};
  const Heaps& all = *heaps();
  return {all.base + static_cast<Bytes>(all.rank) * all.heap_bytes, all.heap_bytes};
}

std::optional<Location> locate(const void* pointer) noexcept { return locate(pointer, 0); }

std::optional<Location> locate(const void* pointer, Bytes bytes) noexcept {
  if (!available()) return std::nullopt;
  const Heaps& all = *heaps();
  const auto distance = reinterpret_cast<std::uintptr_t>(pointer) -
                        reinterpret_cast<std::uintptr_t>(all.base);
  if (distance >= all.heap_bytes * static_cast<Bytes>(all.size)) {
    return LentPages::get().locate(pointer, bytes);
  }
  return Location{static_cast<std::int32_t>(distance / all.heap_bytes), distance % all.heap_bytes};
}

void* address(Location location) noexcept {
  const Heaps& all = *heaps();
  return all.base + static_cast<Bytes>(location.owner) * all.heap_bytes + location.offset;
}

int node_rank() noexcept { return heaps() ? heaps()->rank : 0; }
int node_size() noexcept { return heaps() ? heaps()->size : 1; }

int node_rank_of_world(Rank world_rank) noexcept {
  if (!heaps()) return -1;
  const WorldTable& table = *heaps()->table;
  if (world_rank < 0 || world_rank >= static_cast<int>(table.nodes.size())) return -1;
  int own_world_rank = 0;
  MPI_Group_rank(table.group, &own_world_rank);
  const auto theirs = static_cast<std::size_t>(world_rank);
  if (table.nodes[theirs] != table.nodes[static_cast<std::size_t>(own_world_rank)]) return -1;
  return table.node_ranks[theirs];
}

}  // namespace shoal::node_memory
