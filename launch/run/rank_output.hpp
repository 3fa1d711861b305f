// The output of a job, taken apart by rank and written line by line.
#pragma once

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::launch {

/// Where a piece of output comes from.
enum class Stream { output, errors };

/// Reads what `mpirun --xml` writes: <stdout rank="3">text</stdout>, with whatever is not plain
/// ASCII as &#NNN; so that the bytes of a rank, line breaks included, come out as they went in.
/// Text that no rank wrote is mpirun's own. Takes the text in pieces cut anywhere; damaged text is
/// passed on as mpirun's, never dropped.
class XmlDecoder {
 public:
  using Text = std::function<void(int rank, Stream stream, std::string_view text)>;

  /// `text` is called for every piece; rank -1: mpirun itself.
  explicit XmlDecoder(Text text) : text_(std::move(text)) {}
  void feed(std::string_view piece);
  /// The rest, at the end.
  void finish();

 private:
  void element(const std::string& tag);
  void emit(std::string_view text);
  static std::string decoded(const std::string& entity);

  Text text_;
  std::string pending_;  // a tag or an entity that has not ended
  int rank_ = -1;
  Stream stream_ = Stream::errors;
  bool inside_ = false;
};

/// Reads what `srun --label` writes: "3: text" a line. Other lines are srun's own.
class LabelDecoder {
 public:
  LabelDecoder(Stream stream, XmlDecoder::Text text) : stream_(stream), text_(std::move(text)) {}
  void feed(std::string_view piece);
  void finish();

 private:
  void line(std::string_view text);

  Stream stream_;
  XmlDecoder::Text text_;
  std::string pending_;
};

/// Writes the output of ranks to a file so that lines stay whole, each with a prefix. A line that a
/// rank has begun and not ended is shown when `flush_begun` is called, and goes on where it stands.
class LineWriter {
 public:
  LineWriter(std::FILE* file, std::function<std::string(int)> prefix)
      : file_(file), prefix_(std::move(prefix)) {}
  void write(int rank, std::string_view text);
  bool has_begun() const noexcept { return !begun_.empty(); }
  void flush_begun();
  /// Ends every line that is still open.
  void finish();

 private:
  void put(const std::string& text);
  void open(int rank);

  std::FILE* file_;
  std::function<std::string(int)> prefix_;
  std::map<int, std::string> begun_;
  int shown_ = -1;  // the rank whose begun line stands at the end of the file, -1: none
};

}  // namespace shoal::launch
