#include "checkpoint/manifest.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>

#include <xxhash.h>
#include <nlohmann/json.hpp>

#include <shoal/runtime/error.hpp>

#include "checkpoint/file.hpp"
#include "json_strict.hpp"

namespace shoal {
namespace {

using Json = nlohmann::ordered_json;

constexpr int format_version = 2;
constexpr const char* checksum_name = "xxh64";
constexpr Bytes manifest_limit = Bytes{1} << 30;

std::string hexadecimal(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::uint64_t from_hexadecimal(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (code != std::errc() || end != text.data() + text.size()) {
    throw Error("checkpoint", "\"" + text + "\" is no checksum");
  }
  return value;
}

Index index_from_json(const Json& json) {
  if (!is_index(json)) throw Error("checkpoint", "no whole number where there should be one");
  return json.get<Index>();
}

std::vector<Index> indices_from_json(const Json& json) {
  if (!is_index_list(json)) {
    throw Error("checkpoint", "no list of whole numbers where there should be one");
  }
  return json.get<std::vector<Index>>();
}

// The list under a name; loops over what is none would pass it by.
const Json& list_at(const Json& json, const char* name) {
  const Json& list = json.at(name);
  if (!list.is_array()) throw Error("checkpoint", "\"" + std::string(name) + "\" is no list");
  return list;
}

Json to_json(const StoredFile& file) {
  Json blocks = Json::array();
  for (const StoredBlock& stored : file.blocks) {
    Json shape = Json::array();
    Json ranges = Json::array();
    for (int dim = 0; dim < stored.global.dims(); ++dim) {
      const Block& range = stored.block[static_cast<std::size_t>(dim)];
      shape.push_back(stored.global[dim]);
      ranges.push_back({range.begin, range.end()});
    }
    blocks.push_back({{"tensor", stored.tensor},
                      {"dtype", std::string(name_of(stored.dtype))},
                      {"shape", shape},
                      {"block", ranges},
                      {"key", stored.key}});
  }
  return {{"file", file.name},
          {"bytes", file.bytes},
          {"xxh64", hexadecimal(file.xxh64)},
          {"blocks", blocks}};
}

void check_size(const StoredBlock& stored);

StoredBlock block_from_json(const Json& json) {
  StoredBlock stored;
  stored.tensor = json.at("tensor").get<std::string>();
  stored.dtype = parse_dtype(json.at("dtype").get<std::string>());
  stored.global = Shape(std::span<const Index>(indices_from_json(json.at("shape"))));
  stored.key = json.at("key").get<std::string>();
  for (const Json& range : list_at(json, "block")) {
    const std::vector<Index> ends = indices_from_json(range);
    if (ends.size() != 2) throw Error("checkpoint", "a range has not two ends");
    const Index begin = ends[0];
    const Index end = ends[1];
    if (begin < 0 || end < begin) {
      throw Error("checkpoint",
                  "tensor " + stored.tensor + " has a block that ends before it begins");
    }
    stored.block.push_back({begin, end - begin});
  }
  check_size(stored);
  if (static_cast<int>(stored.block.size()) != stored.global.dims()) {
    throw Error("checkpoint", "tensor " + stored.tensor + " has a block of " +
                                  std::to_string(stored.block.size()) + " dimensions");
  }
  for (int dim = 0; dim < stored.global.dims(); ++dim) {
    const Block& range = stored.block[static_cast<std::size_t>(dim)];
    if (range.begin < 0 || range.size < 0 || range.begin > stored.global[dim] ||
        range.size > stored.global[dim] - range.begin) {
      throw Error("checkpoint", "tensor " + stored.tensor + " has a block out of its shape " +
                                    stored.global.text());
    }
  }
  return stored;
}

StoredFile file_from_json(const Json& json) {
  StoredFile file;
  file.name = json.at("file").get<std::string>();
  if (file.name.empty() || file.name.find('/') != std::string::npos || file.name[0] == '.') {
    throw Error("checkpoint", "\"" + file.name + "\" is no name of a file in the folder");
  }
  file.bytes = static_cast<Bytes>(index_from_json(json.at("bytes")));
  file.xxh64 = from_hexadecimal(json.at("xxh64").get<std::string>());
  for (const Json& block : list_at(json, "blocks")) file.blocks.push_back(block_from_json(block));
  return file;
}

// JSON has no infinity and no NaN; a best loss starts as infinity.
Json to_json(const MetadataValue& value) {
  if (const auto* number = std::get_if<double>(&value); number && !std::isfinite(*number)) {
    return {{"double", std::isnan(*number) ? "nan" : *number > 0 ? "inf" : "-inf"}};
  }
  return std::visit([](const auto& plain) { return Json(plain); }, value);
}

MetadataValue metadata_from_json(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_object()) return std::strtod(json.at("double").get<std::string>().c_str(), nullptr);
  return index_from_json(json);
}

// Of what the manifest says, not of its white space.
std::string checksum_of(const Json& json) {
  const std::string text = json.dump(1);
  return hexadecimal(XXH64(text.data(), text.size(), 0));
}

// For Json::parse: a manifest is five deep. What nests deeper is none, and would exhaust the stack of
// functions that go down into it, dump() for one.
bool refuse_depth(int depth, Json::parse_event_t, Json&) {
  if (depth > 16) throw Error("checkpoint", "it nests too deep");
  return true;
}

bool overlap(const StoredBlock& a, const StoredBlock& b) {
  for (std::size_t dim = 0; dim < a.block.size(); ++dim) {
    if (a.block[dim].end() <= b.block[dim].begin || b.block[dim].end() <= a.block[dim].begin) {
      return false;
    }
  }
  return true;
}

// Fits, since the global shape does.
Index elements_of(const StoredBlock& stored) {
  Index elements = 1;
  for (const Block& range : stored.block) elements *= range.size;
  return elements;
}

// Throws Error if the elements of a tensor cannot be counted or addressed.
void check_size(const StoredBlock& stored) {
  Index elements = 1;
  for (int dim = 0; dim < stored.global.dims(); ++dim) {
    Index next = 0;
    if (__builtin_mul_overflow(elements, std::max<Index>(stored.global[dim], 1), &next) ||
        next > std::numeric_limits<Index>::max() / 8) {
      throw Error("checkpoint", "the shape of tensor " + stored.tensor + " overflows");
    }
    elements = next;
  }
}

}  // namespace

std::string StoredFile::text() const { return to_json(*this).dump(); }

StoredFile StoredFile::parse(const std::string& text) {
  try {
    return file_from_json(Json::parse(text));
  } catch (const Json::exception& failure) {
    throw Error("checkpoint", failure.what());
  }
}

std::string Manifest::text() const {
  Json values = Json::object();
  for (const auto& [name, value] : metadata) values[name] = to_json(value);
  Json entries = Json::array();
  for (const StoredFile& file : files) entries.push_back(to_json(file));
  Json json = {
      {"format", "shoal checkpoint"}, {"version", format_version}, {"step", step}, {"mesh", mesh},
      {"metadata", values},           {"files", entries}};
  json[checksum_name] = checksum_of(json);
  return json.dump(1) + "\n";
}

Manifest Manifest::parse(const std::string& text, const std::filesystem::path& path) {
  const char* cure = "use another checkpoint";
  bool other_version = false;
  try {
    Json json = Json::parse(text, refuse_depth);
    if (json.at("format") != "shoal checkpoint") throw Error("checkpoint", "of another format");
    const Index written = index_from_json(json.at("version"));
    if (written != format_version) {
      other_version = true;
      throw Error("checkpoint", "not of format version " + std::to_string(format_version) +
                                    " but " + std::to_string(written));
    }
    const auto checksum = json.at(checksum_name).get<std::string>();
    json.erase(checksum_name);
    if (checksum != checksum_of(json)) throw Error("checkpoint", "its checksum is not its own");
    Manifest manifest;
    manifest.step = index_from_json(json.at("step"));
    manifest.mesh = json.at("mesh").get<std::string>();
    if (!json.at("metadata").is_object()) throw Error("checkpoint", "\"metadata\" is no object");
    for (const auto& [name, value] : json.at("metadata").items()) {
      manifest.metadata[name] = metadata_from_json(value);
    }
    std::set<std::string> names;
    for (const Json& entry : list_at(json, "files")) {
      manifest.files.push_back(file_from_json(entry));
      if (!names.insert(manifest.files.back().name).second) {
        throw Error("checkpoint", "a file is listed twice");
      }
    }
    manifest.check_cover("checkpoint");
    return manifest;
  } catch (const Json::exception&) {
    throw Error("checkpoint", path.string() + ": damaged or cut short (no manifest of a checkpoint)",
                cure);
  } catch (const Error& failure) {
    if (other_version) {
      throw Error("checkpoint", path.string() + ": " + failure.message(),
                  "use the version of Shoal that wrote it, or another checkpoint");
    }
    throw Error("checkpoint", path.string() + ": damaged (" + failure.message() + ")", cure);
  }
}

void Manifest::check_cover(const std::string& operation) const {
  std::map<std::string, std::vector<const StoredBlock*>> blocks;
  for (const StoredFile& file : files) {
    for (const StoredBlock& stored : file.blocks) blocks[stored.tensor].push_back(&stored);
  }
  for (const auto& [name, parts] : blocks) {
    Index covered = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (parts[i]->global != parts[0]->global || parts[i]->dtype != parts[0]->dtype) {
        throw Error(operation, "ranks differ on the shape or type of tensor " + name + ": " +
                                   parts[0]->global.text() + " and " + parts[i]->global.text());
      }
      covered += elements_of(*parts[i]);
      for (std::size_t j = 0; j < i; ++j) {
        if (elements_of(*parts[i]) > 0 && elements_of(*parts[j]) > 0 && overlap(*parts[i], *parts[j])) {
          throw Error(operation, "two blocks of tensor " + name + " overlap", "one rank owns a block");
        }
      }
    }
    if (covered != parts[0]->global.size()) {
      throw Error(operation, "the blocks of tensor " + name + " hold " + std::to_string(covered) +
                                 " of its " + std::to_string(parts[0]->global.size()) + " elements",
                  "some rank must own each block");
    }
  }
}

std::filesystem::path folder_of(const std::filesystem::path& root, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return root / name;
}

std::int64_t step_of(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  if (name.rfind("step-", 0) != 0) return -1;
  std::int64_t step = -1;
  const auto [end, code] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  return code == std::errc() && end == name.data() + name.size() ? step : -1;
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / manifest_name;
  return Manifest::parse(read_file(path, manifest_limit), path);
}

Manifest load_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder);
  for (const StoredFile& file : manifest.files) {
    std::error_code code;
    const auto bytes = std::filesystem::file_size(folder / file.name, code);
    if (code) throw file_error("checkpoint", folder / file.name, code.value());
    if (bytes != file.bytes) {
      throw Error("checkpoint", (folder / file.name).string() + ": cut short or damaged: " +
                                    std::to_string(bytes) + " bytes, the manifest says " +
                                    std::to_string(file.bytes),
                  "use another checkpoint");
    }
  }
  return manifest;
}

}  // namespace shoal
