// Memory that every rank of a node can see.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include <shoal/runtime/units.hpp>

namespace shoal::node_memory {

/// A place in the shared memory of the node: which process owns it, and where in its heap.
struct Location {
  std::int32_t owner = -1;   ///< rank among the ranks of this node (see node_rank)
  std::uint64_t offset = 0;  ///< bytes from the start of the owner's heap
};

/// Each rank owns a heap that all ranks of its node map. Allocating is local: no rank waits. Nothing
/// is left behind in the file system, whatever way the process ends.

/// True if the ranks of this node see each other's heaps. False without a Runtime, or where the
/// system forbids it (why_not() then says what).
bool available() noexcept;
/// Why available() is false; empty if it is true.
std::string why_not();

/// Zero-filled memory from this rank's heap, aligned to 64 bytes. Throws Error if there is none left.
void* allocate(Bytes bytes);
/// Gives memory from allocate() back.
void release(void* pointer) noexcept;

/// Makes whole pages of the caller's private memory part of this rank's heap: they keep their addresses and
/// what is in them, and locate() finds them from now on. Nobody may write them meanwhile. False if there
/// is no shared memory, or none left: then they stay private. A child made by fork() has them as private
/// memory, in which what it has not written itself is what its parent has there at the time.
bool lend(std::span<std::byte> pages) noexcept;
/// Before memory whose first page was lent is freed: it is private again, and what was in it is lost. No
/// collective may be at work on it. False if it must not be freed, since the system refuses.
bool take_back(const void* begin) noexcept;

/// The addresses of this rank's heap, mapped as they are needed; empty if there is none.
std::span<std::byte> own_heap() noexcept;

/// Where `pointer` lies if it points into any heap of this node, nothing otherwise. A few compares.
std::optional<Location> locate(const void* pointer) noexcept;
/// The address, in this process, of a place in the node's shared memory.
void* address(Location location) noexcept;

/// This process's number among the ranks of its node, and how many there are.
int node_rank() noexcept;
int node_size() noexcept;
/// Number among the ranks of the node of a rank of the Runtime's world; -1 if it is on another node.
int node_rank_of_world(Rank world_rank) noexcept;

}  // namespace shoal::node_memory
