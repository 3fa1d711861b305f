#include "stage_lanes.hpp"

#include <algorithm>
#include <chrono>

#include <shoal/collectives/point_to_point.hpp>
#include <shoal/kernels/local/convert.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::models {
namespace {

using LaneBuffers = std::array<Buffer<std::byte>, lane_buffers>;

void make_lane_buffers(LaneBuffers& buffers, Index elements, DType type) {
  for (Buffer<std::byte>& buffer : buffers) {
    buffer = Buffer<std::byte>(elements * static_cast<Index>(size_of(type)));
  }
}

Bytes bytes_of_lane(const LaneBuffers& buffers) {
  Bytes bytes = 0;
  for (const Buffer<std::byte>& buffer : buffers) bytes += static_cast<Bytes>(buffer.size());
  return bytes;
}

}  // namespace

Bytes lane_bytes(Index elements, DType type) noexcept {
  return static_cast<Bytes>(lane_buffers * elements) * size_of(type);
}

SendLane::SendLane(const Communicator& pp, Rank to, int tag, DType type)
    : pp_(pp), to_(to), tag_(tag), type_(type) {}

void SendLane::make_room(Index elements) {
  drain();
  make_lane_buffers(buffers_, elements, type_);
}

void SendLane::send(const float* data, Index count) {
  const std::size_t at = next_;
  next_ = (next_ + 1) % buffers_.size();
  works_[at].wait();
  std::byte* to = buffers_[at].data();
  {
    const trace::Span span("pack for a stage", trace::Category::compute);
    if (type_ == DType::bf16) {
      kernels::convert(count, data, reinterpret_cast<bfloat16*>(to));
    } else {
      std::copy_n(data, count, reinterpret_cast<float*>(to));
    }
  }
  works_[at] = start_send(pp_, to, count, type_, to_, tag_);
}

void SendLane::drain() {
  for (std::size_t i = 0; i < works_.size(); ++i) works_[(next_ + i) % works_.size()].wait();
}

Bytes SendLane::bytes() const noexcept { return bytes_of_lane(buffers_); }

ReceiveLane::ReceiveLane(const Communicator& pp, Rank from, int tag, DType type)
    : pp_(pp), from_(from), tag_(tag), type_(type) {}

void ReceiveLane::make_room(Index elements) { make_lane_buffers(buffers_, elements, type_); }

void ReceiveLane::expect(Index count) {
  if (taken_ == counts_.size()) {
    counts_.clear();
    posted_ = taken_ = 0;
  }
  counts_.push_back(count);
  post();
}

void ReceiveLane::post() {
  while (posted_ < counts_.size() && posted_ < taken_ + buffers_.size()) {
    const std::size_t at = posted_ % buffers_.size();
    works_[at] = start_receive(pp_, buffers_[at].data(), counts_[posted_], type_, from_, tag_);
    ++posted_;
  }
}

Index ReceiveLane::take(float* to, Seconds& waited) {
  const std::size_t at = taken_ % buffers_.size();
  const Index count = counts_[taken_];
  if (!works_[at].test()) {
    const trace::Span span("pipeline bubble", trace::Category::communication,
                           static_cast<Bytes>(count) * size_of(type_));
    const auto start = std::chrono::steady_clock::now();
    works_[at].wait();
    waited += std::chrono::steady_clock::now() - start;
  }
  {
    const trace::Span span("unpack from a stage", trace::Category::compute);
    const std::byte* from = buffers_[at].data();
    if (type_ == DType::bf16) {
      kernels::convert(count, reinterpret_cast<const bfloat16*>(from), to);
    } else {
      std::copy_n(reinterpret_cast<const float*>(from), count, to);
    }
  }
  ++taken_;
  post();
  return count;
}

Bytes ReceiveLane::bytes() const noexcept { return bytes_of_lane(buffers_); }

}  // namespace shoal::models
