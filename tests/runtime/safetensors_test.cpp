#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <support/random.hpp>

namespace shoal {
namespace {

namespace fs = std::filesystem;

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "shoal-safetensors-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    file_ = folder_ / "a.safetensors";
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A file with this header and this many bytes of data.
  void write_raw(const std::string& header, std::size_t data_bytes) const {
    std::ofstream out(file_, std::ios::binary);
    const std::uint64_t length = header.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header << std::string(data_bytes, 'x');
  }

  // The file is refused, in words that contain its name and `reason`.
  void expect_refused(const std::string& reason) const {
    try {
      const SafetensorsFile file(file_);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(file_.string()), std::string::npos) << error.message();
      EXPECT_NE(error.message().find(reason), std::string::npos) << error.message();
    }
  }

  fs::path folder_;
  fs::path file_;
};

TEST_F(Safetensors, GivesBackWhatWasWritten) {
  auto from = testing::generator();
  const auto matrix = testing::uniform<float>(from, 15);
  const std::vector<double> scalar = {3.25};
  const std::vector<std::int8_t> bytes = {1, -2, 127};
  const std::vector<NamedTensor> tensors = {
      {"layer.weight", DType::f32, {3, 5}, matrix.data()},
      {"with \"quotes\" and ü", DType::i8, {3}, bytes.data()},
      {"nothing", DType::bf16, {4, 0}, nullptr},
      {"scalar", DType::f64, {}, scalar.data()},
  };
  const FileDigest digest = write_safetensors(file_, tensors, {{"format", "pt"}});
  EXPECT_EQ(digest.bytes, fs::file_size(file_));

  const SafetensorsFile file(file_);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const NamedTensor& wrote : tensors) {
    const NamedTensor* read = file.find(wrote.name);
    ASSERT_NE(read, nullptr) << wrote.name;
    EXPECT_EQ(read->dtype, wrote.dtype);
    EXPECT_EQ(read->shape, wrote.shape);
    EXPECT_TRUE(wrote.bytes() == 0 || std::memcmp(read->data, wrote.data, wrote.bytes()) == 0);
  }
  EXPECT_EQ(file.find("layer"), nullptr);
}

TEST_F(Safetensors, KeepsToTheFormatByteForByte) {
  const std::vector<std::int32_t> values = {1, 2};
  write_safetensors(file_, std::vector<NamedTensor>{{"a", DType::i32, {2}, values.data()}});
  std::ifstream in(file_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string header = R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})";
  const std::size_t padded = (header.size() + 7) / 8 * 8;
  EXPECT_EQ(text, std::string(1, static_cast<char>(padded)) + std::string(7, '\0') + header +
                      std::string(padded - header.size(), ' ') +
                      std::string("\1\0\0\0\2\0\0\0", 8));
}

TEST_F(Safetensors, RefusesEveryTruncation) {
  const std::vector<float> values(6, 1.5F);
  write_safetensors(file_, std::vector<NamedTensor>{{"a", DType::f32, {6}, values.data()}});
  for (auto size = static_cast<std::int64_t>(fs::file_size(file_)) - 1; size >= 0; --size) {
    fs::resize_file(file_, static_cast<std::uintmax_t>(size));
    EXPECT_THROW(SafetensorsFile{file_}, Error) << size << " bytes";
  }
}

TEST_F(Safetensors, SaysWhatIsWrongWithTheHeader) {
  write_raw("[]", 0);
  expect_refused("no JSON object");
  write_raw("{", 0);
  expect_refused("no JSON");
  write_raw(R"({"a":{"dtype":"F32","shape":[2]}})", 8);
  expect_refused("lacks");
  write_raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4);
  expect_refused("do not fit its shape");
  write_raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8);
  expect_refused("do not fit its shape");
  write_raw(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8);
  expect_refused("negative");
  for (const char* extent : {"2.0", "2.5", "1e300", "true", "\"2\"", "null", "18446744073709551617"}) {
    write_raw(R"({"a":{"dtype":"F32","shape":[)" + std::string(extent) +
                  R"(],"data_offsets":[0,8]}})", 8);
    expect_refused("no whole numbers");
  }
  for (const char* shape : {"2", "null", "{}", "\"[2]\""}) {
    write_raw(R"({"a":{"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":[0,8]}})",
              8);
    expect_refused("no whole numbers");
  }
  write_raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}})", 8);
  expect_refused("no whole numbers");
  write_raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8);
  expect_refused("do not fit its shape");
  write_raw(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0);
  expect_refused("overflows");
  write_raw(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}})", 0);
  expect_refused("overflows");
  write_raw(R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,1]}})", 1);
  expect_refused("element type Q4");
  write_raw(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
            R"("b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})", 3);
  expect_refused("overlap");
  write_raw(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})", 3);
  expect_refused("gap");
  write_raw(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})", 3);
  expect_refused("after the last tensor");
  write_raw(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
            R"("a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1);
  expect_refused("twice");
}

TEST_F(Safetensors, RefusesAHeaderLongerThanTheFile) {
  std::ofstream(file_, std::ios::binary) << std::string(16, '\xff');
  expect_refused("header should have");
}

TEST_F(Safetensors, NamesAFileThatIsNotThere) { expect_refused("No such file"); }

TEST_F(Safetensors, RefusesTwoTensorsOfOneName) {
  const float value = 1;
  const std::vector<NamedTensor> tensors(2, {"a", DType::f32, {1}, &value});
  EXPECT_THROW(write_safetensors(file_, tensors), Error);
}

}  // namespace
}  // namespace shoal
