// io/files/checkpoint.hpp.
#include <support/files.hpp>

#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/safetensors_writer.hpp>

#include <algorithm>

using plait::io::checkpoint;
using plait::io::read;
using namespace plait::test;

namespace {

void shard(std::string const& path, std::vector<std::string> const& names) {
  plait::io::safetensors_writer out(path);
  for (auto const& name : names) out.declare(name, {1});
  float const value[] = {static_cast<float>(names.size())};
  for (auto const& name : names) out.append(name, value);
  out.commit();
}

/// A directory with shards s1 {a, c} and s2 {b}, and the given index.
std::string refused(std::string_view index) {
  temporary_directory const dir;
  shard(dir / "s1.safetensors", {"a", "c"});
  shard(dir / "s2.safetensors", {"b"});
  dir.write("model.safetensors.index.json", index);
  std::string const message = refusal([&] { checkpoint c(dir.path()); });
  CHECK((message.empty() || message.starts_with(dir.path() + "/")));
  return message;
}

std::string const good =
    R"({"weight_map": {"c": "s1.safetensors", "a": "s1.safetensors", "b": "s2.safetensors"}})";

}  // namespace

TEST_CASE("checkpoint: one file") {
  temporary_directory const dir;
  shard(dir / "model.safetensors", {"b", "a"});
  for (std::string const& path : {dir.path(), dir.path() + "/"}) {
    checkpoint const c(path);
    CHECK(c.names() == std::vector<std::string_view>{"a", "b"});
    CHECK(read<float>(c.at("a"))[0] == 2);
    CHECK(c.find("c") == nullptr);
    CHECK(c.where("a") == dir / "model.safetensors");
    CHECK(c.where("c") == dir / "model.safetensors");
    PLAIT_REFUSED(c.at("c"), dir / "model.safetensors", "has no tensor \"c\"");
  }
}

TEST_CASE("checkpoint: shards") {
  temporary_directory const dir;
  shard(dir / "s1.safetensors", {"a", "c"});
  shard(dir / "s2.safetensors", {"b"});
  dir.write("model.safetensors.index.json", good);
  checkpoint first(dir.path());
  checkpoint const c = std::move(first);
  CHECK(c.names() == std::vector<std::string_view>{"a", "b", "c"});
  CHECK(c.where("a") == dir / "s1.safetensors");
  CHECK(c.where("b") == dir / "s2.safetensors");
  CHECK(c.where("x") == dir / "model.safetensors.index.json");
  CHECK(read<float>(c.at("b"))[0] == 1);
  CHECK(read<float>(c.at("c"))[0] == 2);
  PLAIT_REFUSED(c.at("x"), "index.json: has no tensor \"x\"");
}

TEST_CASE("checkpoint: the single file takes precedence, as in transformers") {
  temporary_directory const dir;
  shard(dir / "model.safetensors", {"only"});
  dir.write("model.safetensors.index.json", "broken");
  CHECK(checkpoint(dir.path()).names() == std::vector<std::string_view>{"only"});
}

TEST_CASE("checkpoint: an unreadable single file is an error") {
  temporary_directory const dir;
  shard(dir / "s1.safetensors", {"a", "c"});
  shard(dir / "s2.safetensors", {"b"});
  dir.write("model.safetensors.index.json", good);
  std::filesystem::create_symlink("absent", dir / "model.safetensors");
  PLAIT_REFUSED(checkpoint(dir.path()), dir / "model.safetensors", "cannot be opened");
}

TEST_CASE("checkpoint: directories without weights") {
  temporary_directory const dir;
  PLAIT_REFUSED(checkpoint(dir.path()), dir.path(),
                "has neither model.safetensors nor model.safetensors.index.json");
  PLAIT_REFUSED(checkpoint(dir / "absent"), "absent: cannot be opened: No such file");
  PLAIT_REFUSED(checkpoint(dir.write("file", "")), "file: is not a directory");
  std::filesystem::create_directory(dir / "model.safetensors");
  PLAIT_REFUSED(checkpoint(dir.path()), "model.safetensors: is a directory");
}

TEST_CASE("checkpoint: malformed indices") {
  CHECK(refused(good) == "");
  CHECK(contains(refused(""), "index.json: not valid JSON"));
  CHECK(contains(refused("[]"), "index.json: is not a JSON object"));
  CHECK(contains(refused("{}"), "has no weight_map"));
  CHECK(contains(refused(R"({"weight_map": []})"), "weight_map is not an object"));
  CHECK(contains(refused(R"({"weight_map": null})"), "weight_map is not an object"));
  CHECK(contains(refused(R"({"weight_map": {"a": 1}})"), "not a string, that of \"a\""));
  CHECK(contains(refused(R"({"weight_map": {"a": ["s1.safetensors"]}})"),
                 "not a string, that of \"a\""));
  CHECK(contains(refused(R"({"weight_map": {"a": "s1.safetensors", "a": "s1.safetensors"}})"),
                 "\"a\" occurs twice"));
  CHECK(contains(refused(R"({"weight_map": )" + std::string(1'000'000, '[')), "deeper than 64"));
}

TEST_CASE("checkpoint: total_size is a number or absent, and is not used") {
  auto const with = [](std::string_view metadata) {
    return R"({"metadata": )" + std::string(metadata) + ", " + good.substr(1);
  };
  CHECK(refused(with("{}")) == "");
  CHECK(refused(with(R"({"total_size": 1, "more": null})")) == "");
  CHECK(refused(with(R"({"total_size": 1.5})")) == "");
  CHECK(contains(refused(with(R"({"total_size": "12"})")), "total_size is not a number"));
  CHECK(contains(refused(with("3")), "metadata is not an object"));
}

TEST_CASE("checkpoint: shard names stay in the directory") {
  for (std::string_view const name :
       {"../s1.safetensors", "/etc/passwd", "..", ".", "", "x/../s1.safetensors",
        "./s1.safetensors", "a\\\\b", "s1.safetensors\\u0000", "sub/s1.safetensors"}) {
    std::string const message = refused(R"({"weight_map": {"a": ")" + std::string(name) + "\"}}");
    INFO(message);
    CHECK(contains(message, "names the shard \""));
    CHECK(contains(message, "named without a path"));
  }
  std::string const longest(255, 'n');
  CHECK(contains(refused(R"({"weight_map": {"a": ")" + longest + "\"}}"), "which does not exist"));
  std::string const message = refused(R"({"weight_map": {"a": ")" + longest + "n\"}}");
  CHECK(contains(message, "in 256 bytes; a file's name has at most 255"));
  CHECK(message.size() < 1000);
}

TEST_CASE("checkpoint: index and shards agree on every name") {
  CHECK(contains(refused(R"({"weight_map": {"a": "s3.safetensors"}})"),
                 R"(index.json: names the shard "s3.safetensors", which does not exist)"));
  CHECK(
      contains(refused(
                   R"({"weight_map": {"a": "s1.safetensors", "c": "s1.safetensors",
              "b": "s1.safetensors"}})"),
               R"(index.json: places tensor "b" in "s1.safetensors", which does not contain it)"));
  CHECK(contains(refused(R"({"weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}})"),
                 R"(s1.safetensors: tensor "c" is not in the weight_map)"));

  temporary_directory const dir;  // "a" twice
  shard(dir / "s1.safetensors", {"a", "c"});
  shard(dir / "s2.safetensors", {"b", "a"});
  dir.write("model.safetensors.index.json", good);
  PLAIT_REFUSED(checkpoint(dir.path()),
                "s2.safetensors: tensor \"a\" is in this shard, but the index places it in "
                "\"s1.safetensors\"");
  dir.write("s2.safetensors", "garbage!");
  PLAIT_REFUSED(checkpoint(dir.path()), dir / "s2.safetensors", "header");
}

TEST_CASE("checkpoint: every golden checkpoint opens") {
  int opened = 0;
  for (auto const& at : std::filesystem::directory_iterator(PLAIT_GOLDEN_DIR)) {
    if (!at.path().filename().string().starts_with("tiny")) continue;
    checkpoint const c(at.path().string());
    auto const names = c.names();
    CHECK(std::is_sorted(names.begin(), names.end()));
    for (auto const name : names) CHECK(c.at(name).name == name);
    CHECK(c.find("model.embed_tokens.weight") != nullptr);
    ++opened;
  }
  CHECK(opened == 11);
}
