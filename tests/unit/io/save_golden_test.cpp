// io/save.hpp on golden checkpoints: loaded, saved and loaded again, every tensor has the same
// bits. The types come from each config.json (golden_checkpoints.hpp, which CMake writes).
#include <support/files.hpp>
#include <support/tensor_bag.hpp>

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <golden_checkpoints.hpp>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

template <class Checkpoint>
using model = plait::model<Checkpoint::config>;
template <class Checkpoint>
using bag =
    plait::test::tensor_bag<Checkpoint::config>;  // rows as they are in the file, without a layout

/// The bits of every tensor, in order.
template <class Model>
std::vector<std::uint32_t> bits(Model& m) {
  std::vector<std::uint32_t> out;
  m.for_each_tensor([&](int, std::string_view, plait::tensor const& t, auto& data) {
    std::vector<float> row(static_cast<std::size_t>(t.cols));
    for (std::int64_t r = 0; r < t.copies * t.rows; ++r) {
      data.get_row(r / t.rows, r % t.rows, row.data());
      std::size_t const before = out.size();
      out.resize(before + row.size());
      std::memcpy(out.data() + before, row.data(), row.size() * sizeof(float));
    }
  });
  return out;
}
template <class Checkpoint>
std::vector<std::uint32_t> const& original() {
  static std::vector<std::uint32_t> const all =
      bits(*plait::io::load<bag<Checkpoint>>(Checkpoint::directory));
  return all;
}

}  // namespace

TEST_CASE_TEMPLATE(
    "the same bits, from the packed and from the double model, in one file and in shards",
    Checkpoint, PLAIT_GOLDEN_CHECKPOINTS) {
  std::string const directory = Checkpoint::directory;
  REQUIRE(original<Checkpoint>().size() ==
          static_cast<std::size_t>(plait::count(Checkpoint::config).total_parameters));
  auto const net = plait::io::load<model<Checkpoint>>(directory);
  auto const oracle = plait::io::load<plait::reference_model<Checkpoint::config>>(directory);
  CHECK(bits(*net) == original<Checkpoint>());
  CHECK(bits(*oracle) == original<Checkpoint>());
  for (std::int64_t const shard_bytes : {1'000'000'000, 30'000}) {
    CAPTURE(shard_bytes);
    plait::test::temporary_directory const dir;
    plait::io::save(*net, dir / "packed", {.shard_bytes = shard_bytes});
    plait::io::save(*oracle, dir / "double", {.shard_bytes = shard_bytes});
    for (std::string const& path : {dir / "packed", dir / "double"}) {
      CHECK(bits(*plait::io::load<bag<Checkpoint>>(path)) == original<Checkpoint>());
      CHECK(bits(*plait::io::load<model<Checkpoint>>(path)) == original<Checkpoint>());
      CHECK(std::filesystem::exists(path + "/model.safetensors") == (shard_bytes > 30'000));
    }
  }
}

TEST_CASE_TEMPLATE(
    "the config.json that is written says what the original says, and the original may stay",
    Checkpoint, PLAIT_GOLDEN_CHECKPOINTS) {
  std::string const directory = Checkpoint::directory;
  plait::test::temporary_directory const dir;
  auto const net = plait::io::load<bag<Checkpoint>>(directory);
  plait::io::save(*net, dir / "new");
  plait::io::config_file const was(directory), is(dir / "new");
  CHECK(plait::io::architecture_source(is) == plait::io::architecture_source(was));
  CHECK(is.root().at("model_type") == was.root().at("model_type"));
  CHECK(is.root().at("architectures") == was.root().at("architectures"));

  dir.write("config.json", plait::test::contents(directory + "/config.json"));
  plait::io::save(*net, dir.path());
  CHECK(plait::test::contents(dir / "config.json") ==
        plait::test::contents(directory + "/config.json"));
  CHECK(bits(*plait::io::load<bag<Checkpoint>>(dir.path())) == original<Checkpoint>());
}

TEST_CASE_TEMPLATE("the tensors have the names of the original", Checkpoint,
                   PLAIT_GOLDEN_CHECKPOINTS) {
  std::string const directory = Checkpoint::directory;
  plait::io::checkpoint const was(directory);
  plait::test::temporary_directory const dir;
  plait::io::save(*plait::io::load<bag<Checkpoint>>(directory), dir / "new");
  plait::io::checkpoint const is(dir / "new");
  bool fused = false;
  for (std::string_view const name : was.names()) {
    if (name.find("experts.gate_up_proj") != name.npos ||
        name.find("experts.down_proj") != name.npos) {
      fused = true;  // written one by one
      continue;
    }
    CAPTURE(name);
    CHECK(is.at(name).shape == was.at(name).shape);
    CHECK(plait::io::read<float>(is.at(name)) == plait::io::read<float>(was.at(name)));
  }
  CHECK((is.names().size() == was.names().size()) != fused);
}
