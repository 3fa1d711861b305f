#include "text_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

UsageError unreadable(const fs::path& path, const std::string& reason) {
  return UsageError("reading data", path.string() + ": " + reason, "check the path given to --data");
}

// As git does: a zero byte in the first 8,000 means that it is not text.
bool looks_binary(const std::string& text, std::size_t start) {
  const std::size_t length = std::min<std::size_t>(8000, text.size() - start);
  return std::memchr(text.data() + start, 0, length) != nullptr;
}

void append_file(const fs::path& path, std::string& text) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) throw unreadable(path, std::strerror(errno));
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (!error) text.reserve(text.size() + static_cast<std::size_t>(size));
  char chunk[1 << 16];
  std::size_t got = 0;
  while ((got = std::fread(chunk, 1, sizeof chunk, file.get())) > 0) text.append(chunk, got);
  if (std::ferror(file.get()) != 0) throw unreadable(path, std::strerror(errno));
}

std::vector<fs::path> files_under(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(directory, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code broken_link;
    if (entry->is_regular_file(broken_link)) files.push_back(entry->path());
  }
  if (error) throw unreadable(directory, error.message());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string read_text(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error) throw unreadable(path, error.message());
  std::string text;
  if (!fs::is_directory(status)) {
    if (!fs::is_regular_file(status)) throw unreadable(path, "is not a file or a directory");
    append_file(path, text);
    if (text.empty()) throw unreadable(path, "is empty");
    return text;
  }
  for (const fs::path& file : files_under(path)) {
    const std::size_t start = text.size();
    append_file(file, text);
    if (looks_binary(text, start)) {
      log::debug(file.string() + " is not text: left out");
      text.resize(start);
    }
  }
  if (text.empty()) throw unreadable(path, "has no text files in it, or only empty ones");
  return text;
}

}  // namespace shoal::models
