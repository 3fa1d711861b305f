#include <shoal/models/tokenizer.hpp>

#include <gtest/gtest.h>

#include <numeric>

#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

namespace shoal::models {
namespace {

std::string every_byte() {
  std::string text(256, '\0');
  std::iota(text.begin(), text.end(), '\0');
  return text;
}

TEST(ByteTokenizer, DecodingUndoesEncodingOfAnyBytes) {
  const Tokenizer tokenizer = Tokenizer::bytes();
  EXPECT_EQ(tokenizer.vocabulary(), 256);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(every_byte())), every_byte());
}

TEST(CharacterTokenizer, IdsAreTheSortedDistinctCharacters) {
  const Tokenizer tokenizer = Tokenizer::characters("cabbac\n");
  EXPECT_EQ(tokenizer.vocabulary(), 4);
  EXPECT_EQ(tokenizer.encode("\nabc"), (std::vector<std::int32_t>{0, 1, 2, 3}));
}

TEST(CharacterTokenizer, TakesCodePointsNotBytes) {
  const std::string text = "Grüße, 水 und 🐟!";
  const Tokenizer tokenizer = Tokenizer::characters(text);
  EXPECT_EQ(tokenizer.encode("ü水🐟").size(), 3u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(CharacterTokenizer, DecodingUndoesEncodingOfRandomText) {
  auto random = shoal::testing::generator();
  for (int round = 0; round < 50; ++round) {
    std::string text;
    for (int i = 0; i < 200; ++i) text += static_cast<char>(random() % 128);
    const Tokenizer tokenizer = Tokenizer::characters(text);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(CharacterTokenizer, NamesACharacterItDoesNotKnow) {
  const Tokenizer tokenizer = Tokenizer::characters("abc");
  try {
    tokenizer.encode("abé");
    FAIL() << "encoded an unknown character";
  } catch (const UsageError& error) {
    EXPECT_NE(error.message().find("'é' (U+00E9)"), std::string::npos) << error.message();
  }
  EXPECT_FALSE(tokenizer.knows("x"));
  EXPECT_TRUE(tokenizer.knows("cab"));
}

TEST(CharacterTokenizer, RefusesWhatIsNotUtf8) {
  for (const char* text : {"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    EXPECT_THROW(Tokenizer::characters(text), UsageError) << text;
  }
  EXPECT_THROW(Tokenizer::characters(""), UsageError);
}

TEST(Tokenizer, StateMakesTheSameTokenizer) {
  for (const Tokenizer& tokenizer :
       {Tokenizer::bytes(), Tokenizer::characters("a \"quoted\"\n\t水🐟"), Tokenizer::ids(50257)}) {
    const Tokenizer copy = Tokenizer::from_state(tokenizer.state());
    EXPECT_EQ(copy.state(), tokenizer.state());
    EXPECT_EQ(copy.kind(), tokenizer.kind());
    EXPECT_EQ(copy.vocabulary(), tokenizer.vocabulary());
    for (const char byte : tokenizer.state()) EXPECT_TRUE(byte >= ' ' && byte <= '~');
  }
  for (const char* state : {"", "char", "char:", "char:x", "char:1114112", "ids:0", "ids:1,2",
                            "word:1", "char:55296"}) {
    EXPECT_THROW(Tokenizer::from_state(state), Error) << state;
  }
}

TEST(IdTokenizer, TakesNumbers) {
  const Tokenizer tokenizer = Tokenizer::ids(100);
  EXPECT_EQ(tokenizer.encode(" 5 99\n0"), (std::vector<std::int32_t>{5, 99, 0}));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{5, 99}), "5 99 ");
  for (const char* text : {"100", "-1", "five", "5x"}) {
    EXPECT_THROW(tokenizer.encode(text), UsageError) << text;
  }
  EXPECT_THROW(tokenizer.decode(std::vector<std::int32_t>{100}), Error);
  EXPECT_THROW(Tokenizer::ids(0), UsageError);
  EXPECT_THROW(Tokenizer::ids(65537), UsageError);
}

}  // namespace
}  // namespace shoal::models
