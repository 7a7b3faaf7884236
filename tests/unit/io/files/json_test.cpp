// io/files/json.hpp, io/files/quote.hpp and io/files/fail.hpp.
#include <support/files.hpp>

#include <plait/io/files/json.hpp>

using plait::io::parse_json;
using plait::io::printable;
using namespace std::string_view_literals;

TEST_CASE("JSON: values of every kind") {
  auto const j = parse_json(
      R"( {"a": [1, -2, 1.5, true, null, "x\u00e9"], "b": {"a": {}}, "c": 18446744073709551615} )",
      "f.json");
  CHECK(j["a"].size() == 6);
  CHECK(j["a"][0].is_number_unsigned());
  CHECK(j["a"][1] == -2);
  CHECK(j["a"][2] == 1.5);
  CHECK(j["a"][3] == true);
  CHECK(j["a"][4].is_null());
  CHECK(j["a"][5] == "x\xc3\xa9");
  CHECK(j["b"]["a"].is_object());
  CHECK(j["c"] == 18446744073709551615u);
  CHECK(parse_json("3", "f.json") == 3);
}

TEST_CASE("JSON: syntax errors name the file and the byte") {
  for (std::string_view const bad :
       {"", " ", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "nul", "1e", "01", "'a'", "[1 2]",
        "\"\\q\"", "\"\n\"", "1e999", "NaN", "// c\n1", "\"\\ud800\""})
    PLAIT_REFUSED(parse_json(bad, "dir/f.json"), "dir/f.json: not valid JSON at byte ");
  PLAIT_REFUSED(parse_json("{\"a\": 1, x}", "f.json"), "at byte 10");
}

TEST_CASE("JSON: trailing text, also behind a zero byte") {
  PLAIT_REFUSED(parse_json("{} {}", "f"), "not valid JSON at byte 4");
  PLAIT_REFUSED(parse_json("{}x", "f"), "not valid JSON");
  PLAIT_REFUSED(parse_json("{}\0x"sv, "f"), "at byte 3", "zero byte");
  PLAIT_REFUSED(parse_json("\0"sv, "f"), "at byte 1");
}

TEST_CASE("JSON: a key occurs once per object") {
  PLAIT_REFUSED(parse_json(R"({"a": 1, "b": {"k\n": 1, "k\n": 1}})", "f.json"), "f.json",
                "the key \"k\\n\" occurs twice");
  CHECK(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "f")[1]["a"]["a"] == 2);
  PLAIT_REFUSED(parse_json(R"({"a": {"x": [1, {}]}, "c": 1, "a": 2})", "f"), "\"a\" occurs twice");
}

TEST_CASE("JSON: depth is bounded") {
  auto const nested = [](std::size_t n, char open, char close) {
    return std::string(n, open) + std::string(n, close);
  };
  CHECK_NOTHROW(parse_json(nested(64, '[', ']'), "f"));
  PLAIT_REFUSED(parse_json(nested(65, '[', ']'), "f"), "f: ", "deeper than 64");
  PLAIT_REFUSED(parse_json(std::string(1'000'000, '['), "f"), "deeper than 64");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  PLAIT_REFUSED(parse_json(objects, "f"), "deeper than 64");
}

TEST_CASE("JSON: invalid UTF-8 and hostile tokens leave one short printable line") {
  for (std::string_view const bad : {"\"\xff\""sv, "\"\xc0\x80\""sv, "\"\xed\xa0\x80\""sv,
                                     "\"\xe2\x82\""sv, "\"\xf5\x80\x80\x80\""sv})
    PLAIT_REFUSED(parse_json(bad, "f"), "not valid JSON at byte ");
  std::string const message =
      plait::test::refusal([] { parse_json('"' + std::string(100'000, 'x') + '\n', "f"); });
  CHECK(message.size() < 400);
  CHECK(plait::test::refusal([] { parse_json("\x1b[2J\x07", "f"); }) != "");
  PLAIT_REFUSED(parse_json("{", "a\nb"), "a\\nb: not valid");
}

TEST_CASE("errors: printable text is unchanged, the rest is escaped") {
  CHECK(printable("model.layers.0") == "model.layers.0");
  CHECK(printable("a\"b\\") == "a\\\"b\\\\");
  CHECK(printable("\n\t\r\x1b\x7f"sv) == "\\n\\t\\x0d\\x1b\\x7f");
  CHECK(printable("\0"sv) == "\\x00");
  CHECK(printable("gr\xc3\xbc\xc3\x9f \xe6\xa8\xa1 \xf0\x9f\x98\x80") ==
        "gr\xc3\xbc\xc3\x9f \xe6\xa8\xa1 \xf0\x9f\x98\x80");
  CHECK(printable("\xc2\x85 \xe2\x80\xa8 \xe2\x80\xae") ==
        "\\xc2\\x85 \\xe2\\x80\\xa8 \\xe2\\x80\\xae");  // NEL, line separator, direction
  CHECK(printable("\xc3") == "\\xc3");
  CHECK(printable("\xc0\xaf\xed\xa0\x80\xff") == "\\xc0\\xaf\\xed\\xa0\\x80\\xff");
  CHECK(printable(std::string(1000, 'x')) == std::string(200, 'x') + "...");
  CHECK(printable(std::string(200, 'x')).size() == 200);
}
