#include <shoal/runtime/mesh.hpp>

#include <algorithm>
#include <charconv>
#include <numeric>

#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

[[noreturn]] void reject(std::string_view text, const std::string& problem) {
  throw UsageError("mesh '" + std::string(text) + "'", problem, "write it like dp=2,tp=4");
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// tp neighbours exchange the most, so they are the innermost axis: next to each other on a node.
// Stages of a pipeline exchange the least, so they are the outermost: between nodes.
MeshShape in_placement_order(MeshShape shape) {
  const auto depth = [](const MeshShape::Axis& axis) {
    return axis.name == "pp" ? 0 : axis.name == "tp" ? 2 : 1;
  };
  std::stable_sort(shape.axes.begin(), shape.axes.end(),
                   [&](const auto& a, const auto& b) { return depth(a) < depth(b); });
  return shape;
}

// Ranks grouped by node, so that consecutive mesh positions share one as long as it has ranks.
Communicator in_mesh_order(const Communicator& world) {
  std::vector<Rank> order(static_cast<std::size_t>(world.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](Rank a, Rank b) { return world.node_of(a) < world.node_of(b); });
  const auto mine = std::find(order.begin(), order.end(), world.rank());
  return world.split(0, static_cast<int>(mine - order.begin()), "mesh");
}

}  // namespace

MeshShape MeshShape::parse(std::string_view text) {
  MeshShape shape;
  if (trimmed(text).empty()) reject(text, "it is empty");
  std::string_view rest = text;
  for (;;) {
    const auto comma = rest.find(',');
    const std::string_view part = trimmed(rest.substr(0, comma));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) {
      reject(text, "'" + std::string(part) + "' is not NAME=NUMBER");
    }
    const std::string name(trimmed(part.substr(0, equals)));
    const std::string_view number = trimmed(part.substr(equals + 1));
    if (name != "dp" && name != "tp" && name != "pp") {
      reject(text, "unknown axis '" + name + "' (the axes are dp, tp and pp)");
    }
    int size = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), size);
    if (error != std::errc{} || end != number.data() + number.size() || size < 1) {
      reject(text, "'" + std::string(number) + "' is not a positive number of ranks");
    }
    for (const Axis& axis : shape.axes) {
      if (axis.name == name) reject(text, "axis " + name + " appears twice");
    }
    shape.axes.push_back({name, size});
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return shape;
}

int MeshShape::size() const noexcept {
  long long size = 1;
  for (const Axis& axis : axes) size = std::min<long long>(size * axis.size, 1 << 30);
  return static_cast<int>(size);
}

int MeshShape::size_of(std::string_view name) const noexcept {
  for (const Axis& axis : axes) {
    if (axis.name == name) return axis.size;
  }
  return 1;
}

std::string MeshShape::text() const {
  std::string text;
  for (const Axis& axis : axes) {
    if (!text.empty()) text += ',';
    text += axis.name + "=" + std::to_string(axis.size);
  }
  return text;
}

Mesh::Mesh(const Communicator& world, const MeshShape& shape)
    : shape_(in_placement_order(shape)),
      all_([&]() -> Communicator {
        if (shape.size() != world.size()) {
          throw UsageError("mesh " + shape.text(),
                           "it multiplies to " + std::to_string(shape.size()) +
                               " ranks, but the run has " + std::to_string(world.size()),
                           "start with mpirun -n " + std::to_string(shape.size()) +
                               " or choose another mesh");
        }
        return in_mesh_order(world);
      }()),
      self_(all_.split(all_.rank(), 0, "self")) {
  int inner = all_.size();
  for (const MeshShape::Axis& axis : shape_.axes) {
    inner /= axis.size;
    // Same colour: ranks whose coordinates agree on every other axis.
    const int place = all_.rank() / inner % axis.size;
    const int colour = all_.rank() - place * inner;
    axes_.push_back(all_.split(colour, place, axis.name));
  }
}

const Communicator& Mesh::axis(std::string_view name) const {
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    if (shape_.axes[i].name == name) return axes_[i];
  }
  return self_;
}

}  // namespace shoal
