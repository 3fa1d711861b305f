#include <shoal/runtime/checkpoint_writer.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/trace.hpp>

#include "checkpoint/agree.hpp"
#include "checkpoint/shard_copy.hpp"
#include "checkpoint/spare.hpp"
#include "checkpoint/stages.hpp"
#include "file_job.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

Bytes bytes_of(const TensorSlice& slice) {
  Bytes bytes = size_of(slice.dtype);
  for (const Block& range : slice.block)
    bytes *= static_cast<Bytes>(std::max<Index>(range.size, 0));
  return bytes;
}

}  // namespace

struct CheckpointWriter::Impl {
  enum class Stage { idle, shards, manifest };
  enum class From { copy, slices };

  explicit Impl(const Communicator& communicator) : world(communicator) {}

  bool first() const { return world.rank() == 0; }

  void start(const fs::path& to, std::int64_t of_step, std::span<const TensorSlice> tensors,
             const Metadata& with, const SaveOptions& how, From from) {
    require_own_process(save_operation);
    if (first() && root != to && !root.empty()) remove_spare(root);
    root = to;
    step = of_step;
    metadata = with;
    options = how;
    yielding = from == From::copy;
    problem.clear();
    stage = Stage::shards;
    try {
      together(world, [&] {
        if (first()) begin_folder(root, step);
        shard = plan_shard(world.rank(), tensors);
        if (from != From::copy || shard.tensors.empty()) return;
        const trace::Span span("copy for checkpoint", trace::Category::io, copy_bytes(tensors));
        shard.file.set(copy.take(shard.tensors));
      });
    } catch (const PeerError&) {
      throw;
    } catch (const Error& failure) {
      give_up(failure);
    }
    if (shard.tensors.empty()) return;
    job.start(
        [this, from, bytes = copy_bytes(tensors)] {
          const trace::Span span("write shard", trace::Category::io, bytes);
          // On a network file system this host may not know of the folder yet.
          make_folder(unfinished());
          const fs::path path = unfinished() / shard.file.name;
          if (from == From::copy) {
            copy.write(path);
          } else {
            shard.file.set(write_safetensors(path, shard.tensors));
          }
        },
        yielding);
  }

  void advance() {
    require_own_process(save_operation);
    try {
      together(world, [&] { job.wait(); });
      if (stage == Stage::shards) {
        collect();
      } else {
        stage = Stage::idle;
        if (!problem.empty()) log::warning(problem);
      }
    } catch (const PeerError&) {
      throw;
    } catch (const Error& failure) {
      give_up(failure);
    }
  }

  // Rank 0 learns what all have written, and begins to write the manifest.
  void collect() {
    const std::vector<std::string> shards =
        gather_texts(world, shard.file.name.empty() ? "" : shard.file.text());
    together(world, [&] {
      if (!first()) return;
      manifest = {step, options.mesh, metadata, {}};
      for (const std::string& text : shards) {
        if (!text.empty()) manifest.files.push_back(StoredFile::parse(text));
      }
      manifest.check_cover(save_operation);
      job.start(
          [this] {
            const trace::Span span("publish checkpoint", trace::Category::io);
            problem = publish(root, manifest, options.keep_last);
          },
          yielding);
    });
    stage = Stage::manifest;
  }

  // All ranks are here, with the same words and no file work left.
  [[noreturn]] void give_up(const Error& failure) {
    std::string kept;
    if (first()) {
      std::error_code ignored;
      fs::remove_all(unfinished(), ignored);
      kept = what_is_kept(root);
    }
    stage = Stage::idle;
    throw Error(save_operation, failure.message() + broadcast_text(world, kept));
  }

  fs::path unfinished() const { return unfinished_folder(root, step); }

  const Communicator& world;
  Stage stage = Stage::idle;
  fs::path root;
  std::int64_t step = 0;
  Metadata metadata;
  SaveOptions options;
  bool yielding = false;
  ShardPlan shard;
  Manifest manifest;    // on rank 0
  std::string problem;  // written by the job on rank 0
  ShardCopy copy;
  FileJob job;  // last: its end comes before that of what it uses
};

CheckpointWriter::CheckpointWriter(const Communicator& world)
    : impl_(std::make_unique<Impl>(world)) {}

CheckpointWriter::~CheckpointWriter() {
  if (is_forked_child()) {
    static_cast<void>(impl_.release());  // files and thread are the parent's
    return;
  }
  const bool given_up = busy();
  if (given_up) {
    try {
      impl_->job.wait();
    } catch (const std::exception&) {
      // It is given up anyway.
    }
  }
  if (!impl_->first() || impl_->root.empty()) return;
  std::error_code ignored;
  if (given_up) fs::remove_all(impl_->unfinished(), ignored);
  remove_spare(impl_->root);
}

Bytes CheckpointWriter::copy_bytes(std::span<const TensorSlice> slices) {
  Bytes bytes = 0;
  for (const TensorSlice& slice : slices) bytes += slice.owner ? bytes_of(slice) : 0;
  return bytes;
}

void CheckpointWriter::reserve(Bytes bytes) { impl_->copy.reserve(bytes); }
Bytes CheckpointWriter::reserved() const noexcept { return impl_->copy.reserved(); }

void CheckpointWriter::start(const fs::path& root, std::int64_t step,
                             std::span<const TensorSlice> slices, const Metadata& metadata,
                             const SaveOptions& options) {
  finish();
  impl_->start(root, step, slices, metadata, options, Impl::From::copy);
}

bool CheckpointWriter::busy() const noexcept { return impl_->stage != Impl::Stage::idle; }
std::int64_t CheckpointWriter::step() const noexcept { return impl_->step; }
bool CheckpointWriter::ready() const noexcept { return impl_->job.done(); }

void CheckpointWriter::advance() {
  if (busy()) impl_->advance();
}

void CheckpointWriter::finish() {
  while (busy()) impl_->advance();
}

void save_checkpoint(const Communicator& world, const fs::path& root, std::int64_t step,
                     std::span<const TensorSlice> slices, const Metadata& metadata,
                     const SaveOptions& options) {
  CheckpointWriter writer(world);
  writer.impl_->start(root, step, slices, metadata, options, CheckpointWriter::Impl::From::slices);
  writer.finish();
}

}  // namespace shoal
