#include <shoal/runtime/safetensors.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "checkpoint/file.hpp"
#include "json_strict.hpp"
#include "safetensors_header.hpp"

static_assert(std::endian::native == std::endian::little, "safetensors are little endian");

namespace shoal {
namespace {

constexpr std::uint64_t length_bytes = 8;
// The limit of the reference implementation: a longer header is an attack or rubbish.
constexpr std::uint64_t header_limit = 100'000'000;

constexpr struct {
  DType type;
  const char* name;
} type_names[] = {{DType::f32, "F32"}, {DType::f64, "F64"}, {DType::bf16, "BF16"},
                  {DType::f16, "F16"}, {DType::i8, "I8"},   {DType::i32, "I32"},
                  {DType::i64, "I64"}};

const char* format_name(DType type) {
  for (const auto& entry : type_names) {
    if (entry.type == type) return entry.name;
  }
  throw Error("write_safetensors", "the format has no name for " + std::string(name_of(type)));
}

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw Error("read", path.string() + ": " + what,
              "the file is damaged or no safetensors file: use another copy");
}

// Parses the header; nlohmann::json keeps the last of two equal keys, so they are counted as they
// come.
nlohmann::json parse_header(const std::filesystem::path& path, const char* text, std::size_t length) {
  std::set<std::string> names;
  bool twice = false;
  const auto callback = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1) {
      twice |= !names.insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  try {
    nlohmann::json header = nlohmann::json::parse(text, text + length, callback);
    if (!header.is_object()) damaged(path, "the header is no JSON object");
    if (twice) damaged(path, "a name comes twice in the header");
    return header;
  } catch (const nlohmann::json::exception&) {
    damaged(path, "the header is no JSON");
  }
}

std::vector<Index> numbers_of(const std::filesystem::path& path, const std::string& tensor,
                              const nlohmann::json& list) {
  if (!is_index_list(list)) {
    damaged(path, "tensor " + tensor + " has a shape or offsets that are no whole numbers");
  }
  return list.get<std::vector<Index>>();
}

DType type_of(const std::filesystem::path& path, const std::string& tensor, const std::string& name) {
  for (const auto& entry : type_names) {
    if (name == entry.name) return entry.type;
  }
  throw Error("read", path.string() + ": tensor " + tensor + " has element type " + name,
              "Shoal reads F32, F64, BF16, F16, I8, I32 and I64");
}

// Bytes of a dense tensor; fails if they do not fit into 63 bits. An extent of 0 does not hide what
// the others would overflow: Shape::size() multiplies them in their order.
std::uint64_t bytes_of(const std::filesystem::path& path, const std::string& name,
                       const std::vector<Index>& extents, DType type) {
  std::uint64_t bytes = size_of(type);
  bool empty = false;
  for (const Index extent : extents) {
    if (extent < 0) damaged(path, "tensor " + name + " has a negative extent");
    empty |= extent == 0;
    const auto factor = static_cast<std::uint64_t>(std::max<Index>(extent, 1));
    if (bytes > std::uint64_t{std::numeric_limits<std::int64_t>::max()} / factor) {
      damaged(path, "the shape of tensor " + name + " overflows");
    }
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

}  // namespace

std::string safetensors_header(std::span<const NamedTensor> tensors,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names{"__metadata__"};
  std::uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      throw Error("write_safetensors", "two tensors have the name " + tensor.name,
                  "give each its own name");
    }
    std::vector<Index> extents;
    for (int dim = 0; dim < tensor.shape.dims(); ++dim) extents.push_back(tensor.shape[dim]);
    header[tensor.name] = {{"dtype", format_name(tensor.dtype)},
                           {"shape", extents},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = std::string(length_bytes, '\0') + header.dump();
  // The data start at a multiple of 8; in a large file of a page, so that they need no copy on
  // their way to the disk, nor when they are mapped.
  const std::uint64_t alignment = offset >= large_file ? 4096 : 8;
  text.resize((text.size() + alignment - 1) / alignment * alignment, ' ');
  const std::uint64_t length = text.size() - length_bytes;
  std::memcpy(text.data(), &length, length_bytes);
  return text;
}

struct SafetensorsWriter::State {
  std::filesystem::path path;
  Bytes data_bytes;
  FileWriter file;
  Bytes written = 0;
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const NamedTensor> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  const std::string header = safetensors_header(tensors, metadata);
  Bytes bytes = 0;
  for (const NamedTensor& tensor : tensors) bytes += tensor.bytes();
  state_.reset(new State{path, bytes, FileWriter(path, header.size() + bytes)});
  state_->file.write(header.data(), header.size());
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(const void* data, Bytes bytes) {
  state_->written += bytes;
  state_->file.write(data, bytes);
}

FileDigest SafetensorsWriter::finish() {
  if (state_->written != state_->data_bytes) {
    throw Error("write_safetensors",
                state_->path.string() + ": " + std::to_string(state_->written) +
                    " bytes of tensors were given, not " + std::to_string(state_->data_bytes));
  }
  return state_->file.finish();
}

FileDigest write_safetensors(const std::filesystem::path& path,
                             std::span<const NamedTensor> tensors,
                             const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter file(path, tensors, metadata);
  for (std::size_t i = 0; i < tensors.size();) {
    // Tensors that lie side by side go out together.
    const auto* data = static_cast<const char*>(tensors[i].data);
    Bytes bytes = tensors[i++].bytes();
    while (i < tensors.size() && tensors[i].data == data + bytes) bytes += tensors[i++].bytes();
    file.write(data, bytes);
  }
  return file.finish();
}

class SafetensorsFile::Mapping {
 public:
  explicit Mapping(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw file_error("read", path, errno);
    struct stat status {};
    int code = ::fstat(descriptor, &status) == 0 ? 0 : errno;
    if (code == 0 && !S_ISREG(status.st_mode)) code = EISDIR;
    if (code == 0 && status.st_size > 0) {
      bytes_ = static_cast<Bytes>(status.st_size);
      void* mapped = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor, 0);
      if (mapped == MAP_FAILED) {
        code = errno;
        bytes_ = 0;
      } else {
        data_ = static_cast<const char*>(mapped);
      }
    }
    ::close(descriptor);
    if (code != 0) throw file_error("read", path, code);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_) ::munmap(const_cast<char*>(data_), bytes_);
  }

  const char* data() const { return data_; }
  Bytes bytes() const { return bytes_; }

 private:
  const char* data_ = nullptr;
  Bytes bytes_ = 0;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : mapping_(std::make_unique<Mapping>(path)) {
  const std::uint64_t bytes = mapping_->bytes();
  if (bytes < length_bytes) {
    damaged(path, "only " + std::to_string(bytes) + " bytes long");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, mapping_->data(), length_bytes);
  if (length > header_limit || length > bytes - length_bytes) {
    damaged(path, "the header should have " + std::to_string(length) + " bytes, the file has " +
                      std::to_string(bytes));
  }
  const nlohmann::json header = parse_header(path, mapping_->data() + length_bytes, length);
  const char* data = mapping_->data() + length_bytes + length;
  const std::uint64_t data_bytes = bytes - length_bytes - length;

  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  try {
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        metadata_ = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      const std::vector<Index> extents = numbers_of(path, name, entry.at("shape"));
      const std::vector<Index> offsets = numbers_of(path, name, entry.at("data_offsets"));
      if (extents.size() > Shape::max_dims) {
        damaged(path, "tensor " + name + " has " + std::to_string(extents.size()) + " dimensions");
      }
      const DType type = type_of(path, name, entry.at("dtype").get<std::string>());
      if (offsets.size() != 2 || offsets[0] < 0 || offsets[0] > offsets[1]) {
        damaged(path, "the data offsets of tensor " + name + " do not fit its shape");
      }
      const auto begin = static_cast<std::uint64_t>(offsets[0]);
      const auto end = static_cast<std::uint64_t>(offsets[1]);
      if (end - begin != bytes_of(path, name, extents, type)) {
        damaged(path, "the data offsets of tensor " + name + " do not fit its shape");
      }
      if (end > data_bytes) {
        damaged(path, "cut short: tensor " + name + " ends at byte " + std::to_string(end) +
                          " of the data, which has " + std::to_string(data_bytes));
      }
      ranges.emplace_back(begin, end);
      tensors_.push_back({name, type, Shape(std::span(extents)), data + begin});
    }
  } catch (const nlohmann::json::exception&) {
    damaged(path, "the header lacks dtype, shape or data_offsets of a tensor");
  }

  std::sort(ranges.begin(), ranges.end());
  std::uint64_t end = 0;
  for (const auto& [first, last] : ranges) {
    if (first != end) damaged(path, "the data of two tensors overlap, or there is a gap between them");
    end = last;
  }
  if (end != data_bytes) {
    damaged(path, std::to_string(data_bytes - end) + " bytes after the last tensor");
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return a.data != b.data ? a.data < b.data : a.bytes() < b.bytes();
  });
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

const NamedTensor* SafetensorsFile::find(const std::string& name) const {
  for (const NamedTensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

}  // namespace shoal
