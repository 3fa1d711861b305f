// Memory that every rank of a node can see.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// What a child made by fork() has in lent pages: all of what its parent had there, which takes it as much
/// memory and its parent the time to wait for the copy; or a page of its own from when it first writes
/// there, and what its parent has there until then.
enum class InChild : std::uint8_t { copy, follow };

/// Makes whole pages of the caller's private memory part of this rank's heap: they keep their addresses and
/// what is in them, and locate() finds them from now on. Nobody may write them meanwhile. Ranges that were
/// lent before may lie in them, but not reach over their ends. False if that is so, or if there is no shared
/// memory, or none left: then nothing has changed.
bool lend(std::span<std::byte> pages, InChild in_child) noexcept;

enum class Contents : std::uint8_t { kept, lost };
/// All ranges within `memory` that were lent are private again: before it is freed, with fresh pages that hold
/// nothing, or with what is in them. No collective may be at work on them. False if the system refuses
/// that for some: then the memory must not be freed.
bool take_back(std::span<std::byte> memory, Contents contents) noexcept;

/// The addresses of this rank's heap, mapped as they are needed; empty if there is none.
std::span<std::byte> own_heap() noexcept;

/// Where `pointer` lies if it points into any heap of this node, nothing otherwise. A few compares.
std::optional<Location> locate(const void* pointer) noexcept;
/// The same of a buffer, all of which must lie there.
std::optional<Location> locate(const void* data, Bytes bytes) noexcept;
/// The address, in this process, of a place in the node's shared memory.
void* address(Location location) noexcept;

/// This process's number among the ranks of its node, and how many there are.
int node_rank() noexcept;
int node_size() noexcept;
/// Number among the ranks of the node of a rank of the Runtime's world; -1 if it is on another node.
int node_rank_of_world(Rank world_rank) noexcept;

}  // namespace shoal::node_memory
