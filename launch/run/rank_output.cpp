#include "rank_output.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace shoal::launch {
namespace {

constexpr std::size_t longest_tag = 64;  // <stddiag rank="4294967295"> and some
constexpr std::size_t longest_entity = 12;
constexpr std::size_t longest_line = 65536;  // then it is written as it stands

std::optional<int> parse_rank(std::string_view text) {
  int rank = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rank);
  if (error != std::errc() || end != text.data() + text.size() || rank < 0) return std::nullopt;
  return rank;
}

}  // namespace

void XmlDecoder::feed(std::string_view piece) {
  std::size_t plain = 0;  // where the text not yet passed on begins
  for (std::size_t i = 0; i < piece.size(); ++i) {
    const char c = piece[i];
    if (!pending_.empty()) {
      pending_ += c;
      plain = i + 1;
      const bool tag = pending_[0] == '<';
      if (c == (tag ? '>' : ';')) {
        const std::string whole = std::exchange(pending_, {});
        if (tag) {
          element(whole);
        } else {
          emit(decoded(whole));
        }
      } else if (pending_.size() > (tag ? longest_tag : longest_entity)) {
        emit(std::exchange(pending_, {}));  // no markup after all
      }
    } else if (c == '<' || (c == '&' && inside_)) {
      emit(piece.substr(plain, i - plain));
      pending_ = c;
      plain = i + 1;
    }
  }
  emit(piece.substr(std::min(plain, piece.size())));
}

void XmlDecoder::finish() { emit(std::exchange(pending_, {})); }

// Between elements there are only the line breaks of the markup, and what mpirun writes past it.
void XmlDecoder::emit(std::string_view text) {
  if (text.empty()) return;
  if (!inside_ && text.find_first_not_of("\r\n") == std::string_view::npos) return;
  text_(inside_ ? rank_ : -1, inside_ ? stream_ : Stream::errors, text);
}

void XmlDecoder::element(const std::string& tag) {
  if (tag == "<mpirun>" || tag == "</mpirun>") return;
  if (tag == "</stdout>" || tag == "</stderr>" || tag == "</stddiag>") {
    inside_ = false;
    return;
  }
  for (const char* name : {"<stdout", "<stderr", "<stddiag"}) {
    if (tag.rfind(name, 0) != 0) continue;
    const std::string rest = tag.substr(std::string_view(name).size());
    constexpr std::string_view before = " rank=\"";
    constexpr std::string_view after = "\">";
    std::optional<int> rank;
    if (rest == ">") rank = -1;
    if (rest.size() > before.size() + after.size() && rest.rfind(before, 0) == 0) {
      rank = parse_rank(
          std::string_view(rest).substr(before.size(), rest.size() - before.size() - after.size()));
    }
    if (!rank) break;
    rank_ = *rank;
    stream_ = std::string_view(name) == "<stdout" ? Stream::output : Stream::errors;
    inside_ = true;
    return;
  }
  emit(tag);
}

std::string XmlDecoder::decoded(const std::string& entity) {
  if (entity == "&amp;") return "&";
  if (entity == "&lt;") return "<";
  if (entity == "&gt;") return ">";
  if (entity.size() > 3 && entity[1] == '#') {
    int value = 0;
    const char* last = entity.data() + entity.size() - 1;
    const auto [end, error] = std::from_chars(entity.data() + 2, last, value);
    // Open MPI prints bytes as signed numbers.
    if (error == std::errc() && end == last && value >= -128 && value <= 255) {
      return {static_cast<char>(static_cast<unsigned char>(value & 0xff))};
    }
  }
  return entity;
}

void LabelDecoder::feed(std::string_view piece) {
  pending_ += piece;
  std::size_t begin = 0;
  for (auto end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n', begin)) {
    line(std::string_view(pending_).substr(begin, end + 1 - begin));
    begin = end + 1;
  }
  pending_.erase(0, begin);
}

void LabelDecoder::finish() {
  if (!pending_.empty()) line(pending_);
  pending_.clear();
}

void LabelDecoder::line(std::string_view text) {
  // srun aligns the numbers.
  const auto digits = text.find_first_not_of(' ');
  const auto colon = text.find(": ");
  const bool bare = text.size() > 1 && text.substr(text.size() - 2) == ":\n";
  const auto end = colon != std::string_view::npos ? colon : bare ? text.size() - 2 : digits;
  if (digits != std::string_view::npos && end != std::string_view::npos && end > digits) {
    if (const auto rank = parse_rank(text.substr(digits, end - digits))) {
      text_(*rank, stream_, text.substr(std::min(end + (colon == end ? 2 : 1), text.size())));
      return;
    }
  }
  text_(-1, stream_, text);
}

void LineWriter::put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file_);
  std::fflush(file_);
}

// The next text written belongs to `rank`; what another has begun there is closed.
void LineWriter::open(int rank) {
  if (shown_ == rank) return;
  std::string text = shown_ >= 0 ? "\n" : "";
  put(text + prefix_(rank));
  shown_ = rank;
}

void LineWriter::write(int rank, std::string_view text) {
  std::string& line = begun_[rank];
  line += text;
  const auto end = line.rfind('\n');
  if (end != std::string::npos) {
    std::string whole;
    const std::string prefix = prefix_(rank);
    open(rank);
    for (std::size_t at = 0; at <= end;) {
      const std::size_t stop = line.find('\n', at) + 1;
      if (at > 0) whole += prefix;
      whole.append(line, at, stop - at);
      at = stop;
    }
    put(whole);
    shown_ = -1;
    line.erase(0, end + 1);
  }
  if (line.size() > longest_line) {
    open(rank);
    put(std::exchange(line, {}));
  }
  if (line.empty()) begun_.erase(rank);
}

void LineWriter::flush_begun() {
  for (auto& [rank, line] : begun_) {
    open(rank);
    put(line);
  }
  begun_.clear();
}

void LineWriter::finish() {
  flush_begun();
  if (shown_ >= 0) put("\n");
  shown_ = -1;
}

}  // namespace shoal::launch
