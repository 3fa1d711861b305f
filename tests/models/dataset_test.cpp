#include <shoal/models/dataset.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

class DatasetTest : public ::testing::Test {
 protected:
  DatasetTest() {
    std::string name = (fs::temp_directory_path() / "shoal_dataset_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    folder_ = name;
  }
  ~DatasetTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path write(const std::string& name, const std::string& bytes) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  fs::path write_ids(const std::string& name, const std::vector<std::uint16_t>& ids) {
    std::string bytes;
    for (const std::uint16_t id : ids) {
      bytes += static_cast<char>(id & 0xff);
      bytes += static_cast<char>(id >> 8);
    }
    return write(name, bytes);
  }
  static DatasetOptions options(const fs::path& path, Index block_size = 4) {
    DatasetOptions result;
    result.path = path;
    result.block_size = block_size;
    return result;
  }
  static std::string text_of(const Dataset& data, Split split) {
    const auto tokens = data.tokens(split);
    return data.tokenizer().decode(std::vector<std::int32_t>(tokens.begin(), tokens.end()));
  }
  // The message of the UsageError that opening must throw.
  static std::string refusal(const DatasetOptions& from) {
    try {
      const Dataset data(from);
    } catch (const UsageError& error) {
      return error.message();
    }
    return "(no error)";
  }
  static ::testing::AssertionResult says(const std::string& text, const std::string& part) {
    if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "\"" << text << "\" lacks \"" << part << "\"";
  }

  fs::path folder_;
};

TEST_F(DatasetTest, TextIsDividedNineToOne) {
  std::string text;
  for (int i = 0; i < 1003; ++i) text += static_cast<char>('a' + i % 23);
  const Dataset data(options(write("text.txt", text)));
  EXPECT_EQ(text_of(data, Split::train), text.substr(0, 902));
  EXPECT_EQ(text_of(data, Split::validation), text.substr(902));
  EXPECT_EQ(data.tokenizer().vocabulary(), 23);
}

TEST_F(DatasetTest, DirectoryIsItsTextFilesInOrder) {
  write("b.txt", std::string(40, 'b'));
  write("a/z.txt", std::string(40, 'z'));
  write("a/deep/y", std::string(40, 'y'));
  write("program", std::string("\x7f" "ELF\0\0", 6));
  const Dataset data(options(folder_));
  EXPECT_EQ(text_of(data, Split::train) + text_of(data, Split::validation),
            std::string(40, 'y') + std::string(40, 'z') + std::string(40, 'b'));
}

TEST_F(DatasetTest, ByteTokenizerTakesAnyText) {
  DatasetOptions from = options(write("latin1.txt", std::string(100, '\xe9')));
  EXPECT_TRUE(says(refusal(from), "--tokenizer byte"));
  from.tokenizer = Tokenizer::Kind::byte;
  EXPECT_EQ(Dataset(from).tokenizer().vocabulary(), 256);
}

TEST_F(DatasetTest, ReadsPreparedIds) {
  const std::vector<std::uint16_t> train = {1, 2, 300, 50256, 5, 6, 7}, val = {9, 8, 7, 6, 5, 4};
  write_ids("train.bin", train);
  write_ids("val.bin", val);
  for (const fs::path& path : {folder_, folder_ / "train.bin"}) {
    const Dataset data(options(path));
    EXPECT_TRUE(std::ranges::equal(data.tokens(Split::train), train));
    EXPECT_TRUE(std::ranges::equal(data.tokens(Split::validation), val));
    EXPECT_EQ(data.tokenizer().vocabulary(), 50304);
  }
}

TEST_F(DatasetTest, ALoneFileOfIdsIsDivided) {
  const Dataset data(options(write_ids("all.bin", std::vector<std::uint16_t>(103, 3))));
  EXPECT_EQ(data.tokens(Split::train).size(), 92u);
  EXPECT_EQ(data.tokens(Split::validation).size(), 11u);
}

TEST_F(DatasetTest, NamesWhatIsWrong) {
  EXPECT_TRUE(says(refusal(options(folder_ / "absent.txt")), "absent.txt: No such file"));
  EXPECT_TRUE(says(refusal(options(folder_ / "absent.bin")), "absent.bin: No such file"));
  EXPECT_TRUE(says(refusal(options("")), "--data"));
  EXPECT_TRUE(says(refusal(options(write("empty.txt", ""))), "empty.txt: is empty"));
  EXPECT_TRUE(says(refusal(options(write("empty.bin", ""))), "empty.bin: is empty"));
  EXPECT_TRUE(says(refusal(options(write("odd.bin", "abc"))), "odd number of bytes (3)"));
  EXPECT_TRUE(says(refusal(options(write("short.txt", "abc"))), "short.txt: its train part has 2"));
  fs::create_directory(folder_ / "nothing");
  EXPECT_TRUE(says(refusal(options(folder_ / "nothing")), "nothing: has no text files"));
  EXPECT_TRUE(says(refusal(options("/dev/null")), "is not a file"));
}

TEST_F(DatasetTest, AHalfOfAPairIsRefused) {
  write_ids("train.bin", std::vector<std::uint16_t>(100, 1));
  EXPECT_TRUE(says(refusal(options(folder_)), "only one of train.bin and val.bin"));
}

TEST_F(DatasetTest, AnIdBeyondTheVocabularyIsFoundWhereverItIs) {
  auto random = shoal::testing::generator();
  for (int round = 0; round < 10; ++round) {
    std::vector<std::uint16_t> ids(200000, 99);
    const std::size_t at = random() % ids.size();
    ids[at] = 100;
    DatasetOptions from = options(write_ids("wrong.bin", ids));
    from.vocabulary = 100;
    const std::string message = refusal(from);
    EXPECT_TRUE(says(message, "wrong.bin: token id 100 at byte " + std::to_string(2 * at) + " "));
    from.vocabulary = 101;
    EXPECT_EQ(refusal(from), "(no error)");
  }
}

TEST_F(DatasetTest, AnUnreadableFileIsNamed) {
  const fs::path path = write("secret.txt", std::string(100, 'x'));
  chmod(path.c_str(), 0);
  if (access(path.c_str(), R_OK) == 0) GTEST_SKIP() << "this user may read everything";
  EXPECT_TRUE(says(refusal(options(path)), "secret.txt: Permission denied"));
}

TEST_F(DatasetTest, GivenTokenizerMustFit) {
  DatasetOptions from = options(write("text.txt", std::string(100, 'x')));
  from.given = Tokenizer::characters("abc");
  EXPECT_TRUE(says(refusal(from), "'x'"));
  from.given = Tokenizer::ids(10);
  EXPECT_TRUE(says(refusal(from), "is text"));
  from = options(write_ids("all.bin", std::vector<std::uint16_t>(100, 3)));
  from.given = Tokenizer::bytes();
  EXPECT_TRUE(says(refusal(from), "token ids"));
}

Dataset counting(Index block_size) {
  std::vector<std::uint16_t> train(1000), validation(1000);
  for (std::size_t i = 0; i < train.size(); ++i) train[i] = static_cast<std::uint16_t>(i);
  for (std::size_t i = 0; i < validation.size(); ++i) {
    validation[i] = static_cast<std::uint16_t>(2000 + i);
  }
  return Dataset(Tokenizer::ids(3000), train, validation, block_size);
}

TEST(DatasetSequence, TargetsAreTheNextTokens) {
  const Dataset data = counting(16);
  std::vector<std::int32_t> inputs(16), targets(16);
  for (std::uint64_t i = 0; i < 100; ++i) {
    for (const Split split : {Split::train, Split::validation}) {
      const Dataset::Draw draw{split, 7, i, 3 * i};
      data.sequence(draw, inputs.data(), targets.data());
      EXPECT_EQ(inputs[0] - (split == Split::train ? 0 : 2000), data.position(draw));
      for (std::size_t j = 0; j < 16; ++j) {
        EXPECT_EQ(inputs[j], inputs[0] + static_cast<std::int32_t>(j));
        EXPECT_EQ(targets[j], inputs[j] + 1);
      }
    }
  }
}

TEST(DatasetSequence, EveryStartIsDrawnAndNoneBeyond) {
  const Dataset data = counting(990);
  std::set<Index> starts;
  for (std::uint64_t i = 0; i < 500; ++i) starts.insert(data.position({Split::train, 1, 0, i}));
  EXPECT_EQ(starts.size(), 10u);
  EXPECT_EQ(*starts.rbegin(), 9);
}

TEST(DatasetSequence, DependsOnEachNumberOfTheDraw) {
  const Dataset data = counting(4);
  const auto positions = [&](std::uint64_t seed, std::uint64_t step, std::uint64_t first) {
    std::vector<Index> result;
    for (std::uint64_t i = 0; i < 20; ++i) {
      result.push_back(data.position({Split::train, seed, step, first + i}));
    }
    return result;
  };
  const auto base = positions(1, 2, 3);
  EXPECT_EQ(base, positions(1, 2, 3));
  EXPECT_NE(base, positions(2, 2, 3));
  EXPECT_NE(base, positions(1, 3, 3));
  EXPECT_NE(base, positions(1, 2, 100));
}

}  // namespace
}  // namespace shoal::models
