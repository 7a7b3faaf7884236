// io/files/safetensors.hpp, io/files/tensor_view.hpp, io/files/mapped_file.hpp and core/half.hpp.
#include <support/files.hpp>

#include <plait/io/files/safetensors.hpp>

#include <sys/stat.h>

#include <bit>
#include <cmath>
#include <limits>
#include <span>

using plait::io::mapped_file;
using plait::io::read;
using plait::io::safetensors;
using plait::io::stored_type;
using plait::io::widen;
using namespace plait::test;

namespace {

std::string const small_header =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},)"
    R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})";
std::string const small_data("\x80\x3f\x00\xc0\x00\x00\xc0\x3f\x00\x00\x20\xc1",
                             12);  // bf16 1, -2; f32 1.5, -10
std::string const small_file = safetensors_bytes(small_header, small_data);

/// The error of opening a file with this header and `bytes` bytes of data.
std::string refused(temporary_directory const& dir, std::string_view header, std::size_t bytes) {
  std::string const path =
      dir.write("x.safetensors", safetensors_bytes(header, std::string(bytes, '\1')));
  std::string const message = refusal([&] { safetensors file(path); });
  CHECK((message.empty() || message.starts_with(path + ": ")));
  return message;
}

std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return R"({"dtype":)" + std::string(dtype) + R"(,"shape":)" + std::string(shape) +
         R"(,"data_offsets":)" + std::string(offsets) + "}";
}

}  // namespace

TEST_CASE("safetensors: reads names, shapes, metadata and values at any alignment") {
  temporary_directory const dir;
  for (int spaces = 0; spaces < 8; ++spaces) {
    safetensors const file(dir.write(
        "a.safetensors",
        safetensors_bytes(small_header + std::string(static_cast<std::size_t>(spaces), ' '),
                          small_data)));
    CHECK(file.size() == 2);
    CHECK(file.begin()->name == "a");
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.find("c") == nullptr);
    CHECK(file.find("__metadata__") == nullptr);
    REQUIRE(file.find("b") != nullptr);
    CHECK(file.at("b").shape == std::vector<std::int64_t>{2, 1});
    CHECK(file.at("b").type == stored_type::f32);
    CHECK(file.at("b").file == dir / "a.safetensors");
    CHECK(read<float>(file.at("a")) == std::vector<float>{1, -2});
    CHECK(read<float>(file.at("b")) == std::vector<float>{1.5, -10});
    CHECK(read<double>(file.at("a")) == std::vector<double>{1, -2});
    float one[1];
    widen(file.at("b"), 1, one);
    CHECK(one[0] == -10);
    widen(file.at("b"), 2, std::span<float>{});
    PLAIT_REFUSED(widen(file.at("b"), 2, one), "tensor \"b\" has 2 elements");
    PLAIT_REFUSED(widen(file.at("b"), -1, one), "tensor \"b\"");
    PLAIT_REFUSED(read<std::int64_t>(file.at("b")), "tensor \"b\" is of type F32; I64 or I32");
    PLAIT_REFUSED(file.at("c\n"), "a.safetensors: has no tensor \"c\\n\"");
  }
}

TEST_CASE("safetensors: a file in memory is not copied") {
  std::span const bytes = std::as_bytes(std::span(small_file));
  safetensors file("name\n", bytes);
  CHECK(file.path() == "name\n");
  CHECK(file.at("a").data == bytes.data() + 8 + small_header.size());
  safetensors const moved = std::move(file);
  CHECK(moved.at("b").file == "name\n");
  CHECK(read<float>(moved.at("b")) == std::vector<float>{1.5, -10});
  PLAIT_REFUSED(safetensors("name\n", bytes.first(7)), "name\\n: has 7 bytes");
  PLAIT_REFUSED(safetensors("name", bytes.first(bytes.size() - 1)),
                "name: tensor \"b\" ends at byte 12");
}

TEST_CASE("safetensors: views outlive a move of the file object") {
  temporary_directory const dir;
  safetensors file(dir.write("a", small_file));
  auto const* const view = file.find("b");
  safetensors const moved = std::move(file);
  CHECK(moved.find("b") == view);
  CHECK(view->file == moved.path());
  CHECK(read<float>(*view)[1] == -10);
}

TEST_CASE("safetensors: integers, doubles, empty tensors and scalars") {
  temporary_directory const dir;
  std::string data(8 + 8 + 4, '\0');
  std::int64_t const l = -5;
  double const d = 0.1;
  std::int32_t const i = -7;
  std::memcpy(&data[0], &l, 8);
  std::memcpy(&data[8], &d, 8);
  std::memcpy(&data[16], &i, 4);
  safetensors const file(
      dir.write("a", safetensors_bytes("{\"l\":" + entry("\"I64\"", "[]", "[0,8]") +
                                           ",\"d\":" + entry("\"F64\"", "[1]", "[8,16]") +
                                           ",\"i\":" + entry("\"I32\"", "[1,1]", "[16,20]") +
                                           ",\"none\":" + entry("\"F32\"", "[3,0]", "[8,8]") + "}",
                                       data)));
  CHECK(read<std::int64_t>(file.at("l")) == std::vector<std::int64_t>{-5});
  CHECK(read<double>(file.at("d")) == std::vector<double>{0.1});
  CHECK(read<std::int64_t>(file.at("i")) == std::vector<std::int64_t>{-7});
  CHECK(read<std::int32_t>(file.at("i")) == std::vector<std::int32_t>{-7});
  CHECK(read<float>(file.at("none")).empty());
  PLAIT_REFUSED(read<std::int32_t>(file.at("l")), "tensor \"l\" is of type I64; I32");
  PLAIT_REFUSED(read<float>(file.at("d")),
                "tensor \"d\" is of type F64; weights are read from F32, F16 or BF16");
  PLAIT_REFUSED(read<double>(file.at("i")), "tensor \"i\" is of type I32");
}

TEST_CASE("safetensors: every golden file opens") {
  int files = 0;
  for (auto const& at : std::filesystem::recursive_directory_iterator(PLAIT_GOLDEN_DIR)) {
    if (at.path().extension() != ".safetensors") continue;
    safetensors const file(at.path().string());
    CHECK(file.size() > 0);
    for (auto const& t : file) {
      if (t.type == stored_type::i64)
        CHECK(read<std::int64_t>(t).size() == static_cast<std::size_t>(t.size()));
      else
        CHECK(read<double>(t).size() == static_cast<std::size_t>(t.size()));
    }
    ++files;
  }
  CHECK(files > 20);
}

TEST_CASE("safetensors: no prefix of a file is a file") {
  temporary_directory const dir;
  for (std::size_t n = 0; n < small_file.size(); ++n) {
    std::string const path = dir.write("short.safetensors", small_file.substr(0, n));
    INFO("length ", n);
    PLAIT_REFUSED(safetensors(path), path);
  }
  PLAIT_REFUSED(safetensors(dir.write("long", small_file + "x")),
                "has 13 bytes of data, but its tensors end at 12");
}

TEST_CASE("safetensors: a changed byte is refused or read, without other effects") {
  temporary_directory const dir;
  std::string const path = dir / "flipped.safetensors";
  std::size_t const end = 8 + small_header.size();
  int opened = 0;
  auto const attempt = [&](std::string const& bytes) {
    dir.write("flipped.safetensors", bytes);
    std::string const message = refusal([&] {
      safetensors const file(path);
      for (auto const& t : file)
        if (t.type == stored_type::f32 || t.type == stored_type::f16 || t.type == stored_type::bf16)
          (void)read<float>(t);
      ++opened;
    });
    CHECK((message.empty() || message.starts_with(path)));
  };
  for (std::size_t at = 0; at < end; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string bytes = small_file;
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1u << bit));
      attempt(bytes);
    }
    for (char const c : {'\0', '\xff', '"', '{', '}', '[', ',', '9', '-', '\\'}) {
      std::string bytes = small_file;
      bytes[at] = c;
      attempt(bytes);
    }
  }
  CHECK(opened > 0);  // a name may change to another
}

TEST_CASE("safetensors: header lengths") {
  temporary_directory const dir;
  auto const with_length = [&](std::uint64_t length, std::string rest) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return dir.write("h.safetensors", bytes + rest);
  };
  PLAIT_REFUSED(safetensors(with_length(UINT64_MAX, "{}")),
                "h.safetensors: ", "18446744073709551615", "only 2 bytes follow");
  PLAIT_REFUSED(safetensors(with_length(UINT64_MAX - 7, "{}")), "18446744073709551608");
  PLAIT_REFUSED(safetensors(with_length(std::uint64_t{1} << 63, "{}")), "9223372036854775808");
  PLAIT_REFUSED(safetensors(with_length(3, "{}")), "header's length is 3");
  PLAIT_REFUSED(safetensors(with_length(0, "{}")), "does not begin with {");
  PLAIT_REFUSED(safetensors(with_length(2, "[]")), "does not begin with {");
  PLAIT_REFUSED(safetensors(with_length(3, " {}")), "does not begin with {");
  PLAIT_REFUSED(safetensors(with_length(2, "{}x")), "1 bytes of data");
  CHECK(safetensors(with_length(2, "{}")).size() == 0);
  std::string const huge = with_length(100'000'001, "{}");
  std::filesystem::resize_file(huge, 100'000'100);  // sparse
  PLAIT_REFUSED(safetensors(huge), "100000001; at most 100000000 is read");
}

TEST_CASE("safetensors: malformed entries") {
  temporary_directory const dir;
  struct {
    std::string header;
    std::size_t bytes;
    std::string_view expected;
  } const cases[] = {
      {R"({"t":1})", 0, R"(tensor "t" is not described by an object)"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", 4, R"(tensor "t" has no data_offsets)"},
      {R"({"t":{"shape":[1],"data_offsets":[0,4]}})", 4, R"(tensor "t" has no dtype)"},
      {R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4, R"(tensor "t" has no shape)"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}})", 4,
       R"(tensor "t" has an unknown key "x")"},
      {R"({"t":)" + entry("\"F33\"", "[1]", "[0,4]") + "}", 4,
       R"(tensor "t" has an unknown dtype, "F33")"},
      {R"({"t":)" + entry("\"f32\"", "[1]", "[0,4]") + "}", 4, R"(unknown dtype, "f32")"},
      {R"({"t":)" + entry("32", "[1]", "[0,4]") + "}", 4, "dtype that is not a string"},
      {R"({"t":)" + entry("\"F32\"", "1", "[0,4]") + "}", 4, "shape that is not an array"},
      {R"({"t":)" + entry("\"F32\"", "[1.0]", "[0,4]") + "}", 4,
       R"(tensor "t" has shape with a value that is not an integer)"},
      {R"({"t":)" + entry("\"F32\"", "[-1]", "[0,4]") + "}", 4,
       "has shape with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[\"1\"]", "[0,4]") + "}", 4,
       "has shape with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[true]", "[0,4]") + "}", 4,
       "has shape with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[null]", "[0,4]") + "}", 4,
       "has shape with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[0]") + "}", 4,
       "data_offsets that are not an array of two"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[0,4,4]") + "}", 4,
       "data_offsets that are not an array of two"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "{\"0\":0,\"1\":4}") + "}", 4,
       "data_offsets that are not an array of two"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[0.0,4]") + "}", 4,
       "has data_offsets with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[-4,0]") + "}", 4,
       "has data_offsets with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[0,18446744073709551616]") + "}", 4,
       "has data_offsets with a value that is not an integer"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[4,0]") + "}", 4,
       "ends at byte 0, before it begins, at 4"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[0,8]") + "}", 4,
       "ends at byte 8 of the data, which has only 4"},
      {R"({"t":)" + entry("\"F32\"", "[1]", "[18446744073709551612,18446744073709551615]") + "}", 4,
       "which has only 4"},
      {R"({"t":)" + entry("\"F32\"", "[2]", "[0,4]") + "}", 4,
       "occupies 4 bytes, but F32 [2] takes 8"},
      {R"({"t":)" + entry("\"F64\"", "[]", "[0,4]") + "}", 4,
       "occupies 4 bytes, but F64 [] takes 8"},
      {R"({"t":)" + entry("\"F32\"", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", 4,
       "17 dimensions; at most 16"},
      {R"({"__metadata__":[]})", 0, "__metadata__ is not an object"},
      {R"({"__metadata__":{"k":1}})", 0, R"(not a string, that of "k")"},
  };
  for (auto const& c : cases) {
    INFO("header ", c.header);
    std::string const message = refused(dir, c.header, c.bytes);
    INFO("message ", message);
    CHECK(contains(message, c.expected));
  }
}

TEST_CASE("safetensors: shapes that overflow") {
  temporary_directory const dir;
  for (std::string_view const shape :
       {"[9223372036854775808]", "[18446744073709551615]", "[9223372036854775807]",
        "[4611686018427387904]", "[4294967296,4294967296]", "[4294967296,4294967296,4294967296]",
        "[2305843009213693953]", "[65536,65536,65536,16385]",
        "[9223372036854775807,9223372036854775807,0]"}) {
    std::string const message =
        refused(dir, R"({"wide":)" + entry("\"F32\"", shape, "[0,4]") + "}", 4);
    INFO(message);
    CHECK(contains(message, R"(tensor "wide" has a shape whose size overflows)"));
  }
}

TEST_CASE("safetensors: tensors cover the data exactly once") {
  temporary_directory const dir;
  auto const two = [&](std::string_view first, std::string_view second, std::size_t bytes) {
    return refused(dir,
                   R"({"a":)" + entry("\"U8\"", "[4]", first) + R"(,"b":)" +
                       entry("\"U8\"", "[4]", second) + "}",
                   bytes);
  };
  CHECK(two("[0,4]", "[4,8]", 8) == "");
  CHECK(two("[4,8]", "[0,4]", 8) == "");
  CHECK(contains(two("[0,4]", "[2,6]", 8),
                 R"(tensor "b" begins at byte 2 of the data, inside another, which ends at 4)"));
  CHECK(contains(two("[0,4]", "[0,4]", 8), "inside another"));
  CHECK(contains(two("[0,4]", "[0,4]", 4), "inside another"));
  CHECK(contains(two("[0,4]", "[5,9]", 9),
                 R"(tensor "b" begins at byte 5 of the data, but the one before it ends at 4)"));
  CHECK(contains(two("[1,5]", "[5,9]", 9), R"(tensor "a" begins at byte 1)"));
  CHECK(contains(two("[0,4]", "[4,8]", 9), "has 9 bytes of data, but its tensors end at 8"));
  CHECK(contains(refused(dir, "{}", 1), "has 1 bytes of data, but its tensors end at 0"));
  CHECK(contains(refused(dir,
                         R"({"e":)" + entry("\"U8\"", "[0]", "[3,3]") + R"(,"a":)" +
                             entry("\"U8\"", "[4]", "[0,4]") + "}",
                         4),
                 "\"a\"") == false);
}

TEST_CASE("safetensors: hostile JSON and names") {
  temporary_directory const dir;
  CHECK(contains(refused(dir, "{" + std::string(1'000'000, '['), 0), "not valid JSON"));
  CHECK(
      contains(refused(dir, R"({"a":)" + std::string(1'000'000, '['), 0), "nested deeper than 64"));
  CHECK(contains(refused(dir,
                         R"({"a":)" + entry("\"U8\"", "[4]", "[0,4]") + R"(,"a":)" +
                             entry("\"U8\"", "[4]", "[0,4]") + "}",
                         4),
                 R"(the key "a" occurs twice)"));
  CHECK(contains(refused(dir, R"({"x\n\u0007y":1})", 0), R"(tensor "x\n\x07y" is not)"));
  CHECK(refused(dir, "{\"" + std::string(100'000, 'n') + "\":1}", 0).size() < 500);
  CHECK(contains(refused(dir, "{\"\xff\":1}", 0), "not valid JSON"));
  CHECK(contains(refused(dir, std::string("{}\0\0\0\0\0\0", 8), 0), "zero byte"));
  CHECK(contains(refused(dir, "{}garbage", 0), "not valid JSON"));
}

TEST_CASE("mapped_file: only regular files") {
  temporary_directory const dir;
  PLAIT_REFUSED(mapped_file(dir.path()), dir.path(), "is a directory");
  PLAIT_REFUSED(mapped_file(dir / "absent"), "absent: cannot be opened: No such file");
  PLAIT_REFUSED(mapped_file(std::string("a\0b", 3)), "a\\x00b: ", "zero byte");
  PLAIT_REFUSED(mapped_file("/dev/null"), "/dev/null: is not a regular file");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  PLAIT_REFUSED(mapped_file(dir / "fifo"), "fifo: is not a regular file");
  mapped_file const empty(dir.write("empty", ""));
  CHECK(empty.bytes().empty());
  CHECK(empty.text().empty());
  mapped_file file(dir.write("full", "bytes"));
  mapped_file const moved = std::move(file);
  CHECK(moved.text() == "bytes");
  CHECK(file.bytes().empty());  // NOLINT: a moved-from file is empty
}

TEST_CASE("half: all 65536 values of both formats") {
  using plait::from_bf16, plait::from_f16;
  static_assert(from_bf16(0x3f80) == 1.0f && from_f16(0x3c00) == 1.0f &&
                from_f16(0x0001) == 0x1p-24f);
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    auto const bits = static_cast<std::uint16_t>(i);
    REQUIRE(std::bit_cast<std::uint32_t>(from_bf16(bits)) == i << 16);
    int const exponent = static_cast<int>(i >> 10 & 31), mantissa = static_cast<int>(i & 1023);
    float const value = from_f16(bits);
    REQUIRE(std::signbit(value) == (i >= 0x8000));
    if (exponent == 31 && mantissa != 0) {
      REQUIRE((std::bit_cast<std::uint32_t>(value) & 0x7fffffffu) ==
              (0x7f800000u | static_cast<std::uint32_t>(mantissa) << 13));
    } else {
      double const expected = exponent == 31  ? std::numeric_limits<double>::infinity()
                              : exponent == 0 ? std::ldexp(mantissa, -24)
                                              : std::ldexp(1024 + mantissa, exponent - 25);
      REQUIRE(std::abs(static_cast<double>(value)) == expected);
    }
  }
}

TEST_CASE("widen: long ranges, odd offsets and lengths") {
  temporary_directory const dir;
  std::size_t const n = 5003;
  std::string data(2 * n, '\0');
  for (std::size_t i = 0; i < n; ++i) {
    auto const bits = static_cast<std::uint16_t>(i * 13);
    std::memcpy(&data[2 * i], &bits, 2);
  }
  for (bool const half : {false, true}) {
    safetensors const file(dir.write(
        "w",
        safetensors_bytes(
            R"({"w":)" + entry(half ? "\"F16\"" : "\"BF16\"", "[5003]", "[0,10006]") + "}", data)));
    for (std::size_t const first : {std::size_t{0}, std::size_t{1}, std::size_t{1023}, n - 1}) {
      std::vector<float> out(n - first);
      widen(file.at("w"), static_cast<std::int64_t>(first), out);
      for (std::size_t i = 0; i < out.size(); ++i) {
        auto const bits = static_cast<std::uint16_t>((first + i) * 13);
        REQUIRE(
            std::bit_cast<std::uint32_t>(out[i]) ==
            std::bit_cast<std::uint32_t>(half ? plait::from_f16(bits) : plait::from_bf16(bits)));
      }
    }
  }
}
