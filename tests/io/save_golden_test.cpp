// io/save.hpp on a golden checkpoint: loaded, saved and loaded again, every tensor has the same bits. Built once for each directory in
// tests/golden, whose architecture comes from its config.json.
#include "files.hpp"
#include "tensor_bag.hpp"

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using model = checkpoint_architecture::model<>;
using reference = plait::reference_model<checkpoint_architecture::config>;
using bag = plait::test::tensor_bag<checkpoint_architecture::config>;  // rows as they are in the file, without a layout

std::string const directory = PLAIT_GOLDEN_CHECKPOINT;

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
std::vector<std::uint32_t> const& original() {
  static std::vector<std::uint32_t> const all = bits(*plait::io::load<bag>(directory));
  return all;
}

}  // namespace

TEST_CASE("the same bits, from the packed and from the double model, in one file and in shards") {
  REQUIRE(original().size() == static_cast<std::size_t>(plait::count(checkpoint_architecture::config).total_parameters));
  auto const net = plait::io::load<model>(directory);
  auto const oracle = plait::io::load<reference>(directory);
  CHECK(bits(*net) == original());
  CHECK(bits(*oracle) == original());
  for (std::int64_t const shard_bytes : {1'000'000'000, 30'000}) {
    CAPTURE(shard_bytes);
    plait::test::temporary_directory const dir;
    plait::io::save(*net, dir / "packed", {.shard_bytes = shard_bytes});
    plait::io::save(*oracle, dir / "double", {.shard_bytes = shard_bytes});
    for (std::string const& path : {dir / "packed", dir / "double"}) {
      CHECK(bits(*plait::io::load<bag>(path)) == original());
      CHECK(bits(*plait::io::load<model>(path)) == original());
      CHECK(std::filesystem::exists(path + "/model.safetensors") == (shard_bytes > 30'000));
    }
  }
}

TEST_CASE("the config.json that is written says what the original says, and the original may stay") {
  plait::test::temporary_directory const dir;
  auto const net = plait::io::load<bag>(directory);
  plait::io::save(*net, dir / "new");
  plait::io::config_file const was(directory), is(dir / "new");
  CHECK(plait::io::architecture_source(is) == plait::io::architecture_source(was));
  CHECK(is.root().at("model_type") == was.root().at("model_type"));
  CHECK(is.root().at("architectures") == was.root().at("architectures"));

  dir.write("config.json", plait::test::contents(directory + "/config.json"));
  plait::io::save(*net, dir.path());
  CHECK(plait::test::contents(dir / "config.json") == plait::test::contents(directory + "/config.json"));
  CHECK(bits(*plait::io::load<bag>(dir.path())) == original());
}

TEST_CASE("the tensors are those of the original, by name") {
  plait::io::checkpoint const was(directory);
  plait::test::temporary_directory const dir;
  plait::io::save(*plait::io::load<bag>(directory), dir / "new");
  plait::io::checkpoint const is(dir / "new");
  bool fused = false;
  for (std::string_view const name : was.names()) {
    if (name.find("experts.gate_up_proj") != name.npos || name.find("experts.down_proj") != name.npos) {
      fused = true;  // written one by one
      continue;
    }
    CAPTURE(name);
    CHECK(is.at(name).shape == was.at(name).shape);
    CHECK(plait::io::read<float>(is.at(name)) == plait::io::read<float>(was.at(name)));
  }
  CHECK((is.names().size() == was.names().size()) != fused);
}
