#include <shoal/models/dataset.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <shoal/kernels/local/random.hpp>
#include <shoal/runtime/error.hpp>

#include "text_files.hpp"

namespace shoal::models {

static_assert(std::endian::native == std::endian::little, "*.bin is mapped as it lies in the file");

/// A file of 16-bit ids in the address space.
class Dataset::Mapping {
 public:
  explicit Mapping(const std::filesystem::path& path) {
    const auto fail = [&](const std::string& reason, const char* cure) {
      return UsageError("reading data", path.string() + ": " + reason, cure);
    };
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (file < 0 || ::fstat(file, &status) != 0) {
      const std::string reason = std::strerror(errno);
      if (file >= 0) ::close(file);
      throw fail(reason, "check the path given to --data");
    }
    bytes_ = static_cast<std::size_t>(status.st_size);
    if (bytes_ > 0 && bytes_ % 2 == 0 && S_ISREG(status.st_mode)) {
      data_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, file, 0);
    }
    const int error = errno;
    ::close(file);
    if (!S_ISREG(status.st_mode)) throw fail("is not a file", "check the path given to --data");
    if (bytes_ == 0) throw fail("is empty", "prepare the data again");
    if (bytes_ % 2 != 0) {
      throw fail("has an odd number of bytes (" + std::to_string(bytes_) + "); an id takes two",
                 "the file is cut off or not of 16-bit ids: prepare the data again");
    }
    if (data_ == MAP_FAILED) throw fail(std::strerror(error), "");
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_ != MAP_FAILED) ::munmap(data_, bytes_);
  }

  std::span<const std::uint16_t> ids() const noexcept {
    return {static_cast<const std::uint16_t*>(data_), bytes_ / 2};
  }

 private:
  void* data_ = MAP_FAILED;
  std::size_t bytes_ = 0;
};

namespace {

namespace fs = std::filesystem;

// Numbers of random streams must not be those of the model (kernels of one seed share a generator).
constexpr std::uint32_t first_site = 1u << 31;

constexpr Index train_percent = 90;

// The validation part that belongs to a *.bin, or nothing.
fs::path validation_beside(const fs::path& train) {
  std::string name = train.filename().string();
  const std::size_t at = name.rfind("train");
  if (at == std::string::npos) return {};
  fs::path other = train;
  other.replace_filename(name.replace(at, 5, "val"));
  std::error_code error;
  return fs::exists(other, error) ? other : fs::path();
}

void check_ids(std::span<const std::uint16_t> ids, Index vocabulary, const fs::path& path) {
  if (vocabulary >= 65536) return;
  constexpr std::size_t block = 1 << 16;
  const auto limit = static_cast<std::uint16_t>(vocabulary);
  for (std::size_t start = 0; start < ids.size(); start += block) {
    const auto part = ids.subspan(start, std::min(block, ids.size() - start));
    std::uint16_t largest = 0;
    for (const std::uint16_t id : part) largest = std::max(largest, id);
    if (largest < limit) continue;
    const auto wrong = std::find_if(part.begin(), part.end(), [&](auto id) { return id >= limit; });
    const auto offset = 2 * (start + static_cast<std::size_t>(wrong - part.begin()));
    throw UsageError("reading data",
                     path.string() + ": token id " + std::to_string(*wrong) + " at byte " +
                         std::to_string(offset) + " is beyond the vocabulary of " +
                         std::to_string(vocabulary),
                     "give the number of ids that the data was made with (--vocab-size)");
  }
}

Tokenizer initial_tokenizer(const DatasetOptions& options) {
  return options.given ? *options.given : Tokenizer::bytes();
}

}  // namespace

std::string_view name_of(Split split) noexcept {
  return split == Split::train ? "train" : "val";
}

Dataset::Dataset(const DatasetOptions& options)
    : tokenizer_(initial_tokenizer(options)), block_size_(options.block_size) {
  std::error_code error;
  const fs::path& path = options.path;
  if (path.empty()) throw UsageError("reading data", "no path was given", "pass --data PATH");
  if (fs::is_directory(path, error)) {
    const fs::path train = path / "train.bin";
    const fs::path validation = path / "val.bin";
    if (fs::exists(train, error) && fs::exists(validation, error)) {
      open_ids(options, train, validation);
    } else if (fs::exists(train, error) || fs::exists(validation, error)) {
      throw UsageError("reading data",
                       path.string() + " has only one of train.bin and val.bin",
                       "prepare the data again, or pass the file itself");
    } else {
      open_text(options);
    }
  } else if (path.extension() == ".bin") {
    open_ids(options, path, validation_beside(path));
  } else {
    open_text(options);
  }
  check_lengths(path.string());
}

Dataset::Dataset(Tokenizer tokenizer, std::vector<std::uint16_t> train,
                 std::vector<std::uint16_t> validation, Index block_size)
    : tokenizer_(std::move(tokenizer)),
      block_size_(block_size),
      owned_train_(std::move(train)),
      owned_validation_(std::move(validation)),
      train_(owned_train_),
      validation_(owned_validation_) {
  check_ids(train_, tokenizer_.vocabulary(), "the training part");
  check_ids(validation_, tokenizer_.vocabulary(), "the validation part");
  check_lengths("the data in memory");
}

Dataset::Dataset(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

void Dataset::open_text(const DatasetOptions& options) {
  const std::string text = read_text(options.path);
  if (options.given) {
    if (options.given->kind() == Tokenizer::Kind::ids) {
      throw UsageError("reading data", options.path.string() + " is text, but the model was trained "
                                                               "on token ids",
                       "pass a *.bin file");
    }
  } else {
    tokenizer_ = options.tokenizer == Tokenizer::Kind::byte ? Tokenizer::bytes()
                                                            : Tokenizer::characters(text);
  }
  // The text is divided by characters, as nanoGPT does, so that no character is torn apart.
  owned_train_ = tokenizer_.encode_compact(text);
  const auto all = static_cast<Index>(owned_train_.size());
  const auto cut = owned_train_.begin() + all * train_percent / 100;
  owned_validation_.assign(cut, owned_train_.end());
  owned_train_.erase(cut, owned_train_.end());
  train_ = owned_train_;
  validation_ = owned_validation_;
}

void Dataset::open_ids(const DatasetOptions& options, const fs::path& train,
                       const fs::path& validation) {
  if (!options.given) {
    tokenizer_ = Tokenizer::ids(options.vocabulary);
  } else if (options.given->kind() != Tokenizer::Kind::ids) {
    throw UsageError("reading data",
                     train.string() + " holds token ids, but the model was trained on text",
                     "pass a text file or a directory of them");
  }
  const auto map = [&](const fs::path& path) {
    mappings_.push_back(std::make_unique<Mapping>(path));
    const auto ids = mappings_.back()->ids();
    check_ids(ids, tokenizer_.vocabulary(), path);
    return ids;
  };
  train_ = map(train);
  if (!validation.empty()) {
    validation_ = map(validation);
    return;
  }
  const std::size_t cut = train_.size() / 100 * train_percent +
                          train_.size() % 100 * train_percent / 100;
  validation_ = train_.subspan(cut);
  train_ = train_.first(cut);
}

void Dataset::check_lengths(const std::string& what) const {
  if (block_size_ < 1) {
    throw UsageError("reading data", "a block size of " + std::to_string(block_size_) +
                                         " tokens; it must be 1 or more");
  }
  for (const Split split : {Split::train, Split::validation}) {
    const auto have = static_cast<Index>(tokens(split).size());
    if (have >= block_size_ + 1) continue;
    throw UsageError("reading data",
                     what + ": its " + std::string(name_of(split)) + " part has " +
                         std::to_string(have) + " tokens; a sequence and its targets take " +
                         std::to_string(block_size_ + 1),
                     "give more data, or a smaller --block-size");
  }
}

Index Dataset::position(const Draw& draw) const {
  const kernels::RandomKey key{draw.seed, draw.step,
                               first_site + static_cast<std::uint32_t>(draw.split)};
  // The last start leaves one token after the sequence for its last target.
  const std::uint64_t starts =
      tokens(draw.split).size() - static_cast<std::uint64_t>(block_size_);
  return static_cast<Index>(kernels::random_u64(key, draw.sequence) % starts);
}

void Dataset::sequence(const Draw& draw, std::int32_t* inputs, std::int32_t* targets) const {
  const std::uint16_t* first = tokens(draw.split).data() + position(draw);
  std::copy_n(first, block_size_, inputs);
  std::copy_n(first + 1, block_size_, targets);
}

}  // namespace shoal::models
