// Token sequences to train and validate on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shoal/models/tokenizer.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::models {

/// The two parts of a data set.
enum class Split { train, validation };

/// "train", "val".
std::string_view name_of(Split split) noexcept;

/// Where the tokens come from.
struct DatasetOptions {
  /// One of
  /// - a text file;
  /// - a directory: its text files, in sorted order of their paths, through all subdirectories, put
  ///   end to end (files that hold a zero byte near their start are taken for binary and left out);
  /// - a directory with train.bin and val.bin: token ids, two bytes each, least significant first
  ///   (what nanoGPT's prepare.py writes), read through mmap;
  /// - a file *.bin of such ids. If "train" is in its name and there is the same name with "val"
  ///   beside it, that is the validation part.
  std::filesystem::path path;
  /// Kind::byte or Kind::character, for text. Files *.bin hold ids already.
  Tokenizer::Kind tokenizer = Tokenizer::Kind::character;
  /// The tokenizer to use instead of a new one (when a run is resumed).
  std::optional<Tokenizer> given;
  /// Number of ids, for *.bin.
  Index vocabulary = 50304;
  /// Tokens of a training sequence; both parts must be longer.
  Index block_size = 1024;
};

/// Tokens, in a training and a validation part: the first 90% and the rest of a text, as nanoGPT
/// divides it. Immutable; reading it is the same on every rank.
class Dataset {
 public:
  /// Reads or maps the data. Throws UsageError for data that is missing, empty, shorter than a
  /// sequence, of an odd number of bytes (*.bin), that has an id beyond the vocabulary, or that the
  /// tokenizer does not take; each names the file. `given` must then fit the data.
  explicit Dataset(const DatasetOptions& options);
  /// Tokens in memory, for synthetic data and tests. Throws UsageError as above.
  Dataset(Tokenizer tokenizer, std::vector<std::uint16_t> train,
          std::vector<std::uint16_t> validation, Index block_size);
  Dataset(Dataset&&) noexcept;
  ~Dataset();

  const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
  /// All tokens of a part.
  std::span<const std::uint16_t> tokens(Split split) const noexcept {
    return split == Split::train ? train_ : validation_;
  }
  /// Tokens of a sequence.
  Index block_size() const noexcept { return block_size_; }

  /// Which sequence of a part is meant: a random place in it that is a function of these numbers
  /// only, so that all meshes train on the same batches in the same order.
  struct Draw {
    Split split = Split::train;
    std::uint64_t seed = 0;
    std::uint64_t step = 0;      ///< of the training
    std::uint64_t sequence = 0;  ///< among all sequences drawn at that step
  };
  /// First token of the sequence.
  Index position(const Draw& draw) const;
  /// Writes block_size() tokens to `inputs` and the token after each to `targets`.
  void sequence(const Draw& draw, std::int32_t* inputs, std::int32_t* targets) const;

 private:
  class Mapping;
  void open_text(const DatasetOptions& options);
  void open_ids(const DatasetOptions& options, const std::filesystem::path& train,
                const std::filesystem::path& validation);
  void check_lengths(const std::string& what) const;

  Tokenizer tokenizer_;
  Index block_size_;
  std::vector<std::uint16_t> owned_train_, owned_validation_;
  std::vector<std::unique_ptr<Mapping>> mappings_;
  std::span<const std::uint16_t> train_, validation_;
};

}  // namespace shoal::models
