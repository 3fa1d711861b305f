// A tensor that does not own its memory: pointer, shape, strides.
#pragma once

#include <array>
#include <cassert>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// Extents of a tensor: 0 to 8 dimensions, the last varies fastest in memory.
class Shape {
 public:
  static constexpr int max_dims = 8;

  Shape() = default;
  Shape(std::initializer_list<Index> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  /// Throws Error for more than max_dims dimensions or a negative extent.
  explicit Shape(std::span<const Index> extents);

  int dims() const noexcept { return dims_; }
  Index operator[](int dim) const noexcept { return extents_[static_cast<std::size_t>(dim)]; }
  Index& operator[](int dim) noexcept { return extents_[static_cast<std::size_t>(dim)]; }
  /// Number of elements; 1 for a shape of no dimensions.
  Index size() const noexcept;
  /// "[2, 3, 4]".
  std::string text() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<Index, max_dims> extents_{};
  int dims_ = 0;
};

/// Strides, in elements, of a dense row-major tensor.
Shape row_major_strides(const Shape& shape);

/// A tensor that someone else owns. Copying a View copies no element.
template <class T>
class View {
 public:
  View() = default;
  /// A dense row-major tensor at `data`.
  View(T* data, const Shape& shape) : View(data, shape, row_major_strides(shape)) {}
  /// `strides` in elements, one a dimension.
  View(T* data, const Shape& shape, const Shape& strides)
      : data_(data), shape_(shape), strides_(strides) {}
  /// View<float> converts to View<const float>.
  template <class U>
    requires(std::is_same_v<T, const U>)
  View(const View<U>& other) : View(other.data(), other.shape(), other.strides()) {}

  T* data() const noexcept { return data_; }
  const Shape& shape() const noexcept { return shape_; }
  const Shape& strides() const noexcept { return strides_; }
  int dims() const noexcept { return shape_.dims(); }
  Index size() const noexcept { return shape_.size(); }
  /// True if the elements lie densely in row-major order.
  bool is_contiguous() const;

  /// The element at the given index, one number a dimension. Checked in debug builds only.
  template <class... I>
  T& operator()(I... index) const {
    assert(static_cast<int>(sizeof...(I)) == dims());
    Index offset = 0;
    int dim = 0;
    ((offset += static_cast<Index>(index) * strides_[dim++]), ...);
    return data_[offset];
  }

  /// The part [start, start + length) along `dim`; no copy. Throws Error when out of range.
  View slice(int dim, Index start, Index length) const {
    if (dim < 0 || dim >= dims() || start < 0 || length < 0 || start + length > shape_[dim]) {
      throw Error("slice", "[" + std::to_string(start) + ", " + std::to_string(start + length) +
                               ") along dimension " + std::to_string(dim) + " of " + shape_.text() +
                               " is out of range");
    }
    View part = *this;
    part.shape_[dim] = length;
    part.data_ += start * strides_[dim];
    return part;
  }

 private:
  T* data_ = nullptr;
  Shape shape_;
  Shape strides_;
};

template <class T>
bool View<T>::is_contiguous() const {
  Index expected = 1;
  for (int dim = dims() - 1; dim >= 0; --dim) {
    if (shape_[dim] != 1 && strides_[dim] != expected) return false;
    expected *= shape_[dim];
  }
  return true;
}

/// A matrix that does not own its memory: rows of `cols` elements, `stride` elements apart.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;  ///< at least cols

  T& operator()(Index row, Index col) const { return data[row * stride + col]; }
};

}  // namespace shoal
