#include <shoal/runtime/view.hpp>

namespace shoal {

Shape::Shape(std::span<const Index> extents) {
  if (extents.size() > max_dims) {
    throw Error("shape", std::to_string(extents.size()) + " dimensions, the most is " +
                             std::to_string(max_dims));
  }
  for (const Index extent : extents) {
    if (extent < 0) throw Error("shape", "negative extent " + std::to_string(extent));
    extents_[static_cast<std::size_t>(dims_++)] = extent;
  }
}

Index Shape::size() const noexcept {
  Index size = 1;
  for (int dim = 0; dim < dims_; ++dim) size *= (*this)[dim];
  return size;
}

std::string Shape::text() const {
  std::string text = "[";
  for (int dim = 0; dim < dims_; ++dim) {
    if (dim > 0) text += ", ";
    text += std::to_string((*this)[dim]);
  }
  return text + "]";
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  Index stride = 1;
  for (int dim = shape.dims() - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride *= shape[dim];
  }
  return strides;
}

}  // namespace shoal
