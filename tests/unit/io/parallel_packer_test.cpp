// Loading on several threads: the same bits as row by row, progress, exceptions from any place.
#include <support/files.hpp>

#include <plait/io/files/safetensors_writer.hpp>
#include <plait/io/load.hpp>
#include <plait/io/save.hpp>

#include <support/models.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using plait::io::load;
using plait::io::load_options;
using plait::io::load_progress;

namespace {

// More rows than two panels, more columns than one read, no size a multiple of another.
inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> wide{
    .d_model = 77,
    .vocab_size = 151,
    .layers = {.blocks = 1, .layers_per_block = 4, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = {.num_heads = 7, .num_kv_heads = 7, .head_dim = 11},
    .recurrent = {.d_state = 5, .d_conv = 3, .expand = 2},
    .dense = {.d_ff = 1091},
    .sparse = {.d_ff = 2053, .num_experts = 3, .top_k = 1}};

template <plait::precision P>
using model_in = plait::model<wide, plait::exec::cpu<P>>;

/// All bytes of a model: panels in memory order, other tensors by rows.
template <class Model>
std::vector<std::string> bytes_of(Model const& net) {
  std::vector<std::string> out;
  net.for_each_tensor([&](int, std::string_view, plait::tensor const& t, auto const& data) {
    if constexpr (requires { data.storage(); }) {
      out.emplace_back(reinterpret_cast<char const*>(data.storage().data()),
                       static_cast<std::size_t>(data.storage().size()));
    } else {
      std::string all(static_cast<std::size_t>(t.cols) * 4, '\0');
      for (std::int64_t r = 0; r < t.rows; ++r) {
        std::vector<float> row(static_cast<std::size_t>(t.cols));
        data.get_row(0, r, row.data());
        all.append(reinterpret_cast<char const*>(row.data()), row.size() * 4);
      }
      out.push_back(all);
    }
  });
  return out;
}

/// A checkpoint with weights of every size, and a non-finite value in each tensor.
struct written {
  plait::test::temporary_directory where;
  std::unique_ptr<model_in<plait::f32>> net = std::make_unique<model_in<plait::f32>>();

  explicit written(plait::io::stored_type type = plait::io::stored_type::f32) {
    plait::initialize(*net, 3);
    test::random random(17);
    net->for_each_tensor([&](int, std::string_view, plait::tensor const& t, auto& data) {
      std::vector<float> row(static_cast<std::size_t>(t.cols));
      std::int64_t const r = random.below(t.rows), e = random.below(t.copies);
      data.get_row(e, r, row.data());
      row[static_cast<std::size_t>(random.below(t.cols))] = r % 2 == 0 ? test::infinity : test::nan;
      row[0] = 3e-9f;
      data.set_row(e, r, row.data());
    });
    plait::io::save(*net, where.path(), {.shard_bytes = 3'000'000, .type = type});
  }

  /// The single-threaded reference: every row by set_row, from the files.
  template <class Model>
  std::unique_ptr<Model> row_by_row() const {
    auto model = std::make_unique<Model>();
    plait::io::checkpoint const file(where.path());
    plait::io::config_file const about(where.path());
    plait::io::tensor_names const names(wide, plait::io::require_same(about, wide));
    model->for_each_tensor(
        [&](int layer, std::string_view part, plait::tensor const& t, auto& data) {
          for (std::int64_t e = 0; e < t.copies; ++e) {
            std::vector<float> const values =
                plait::io::read<float>(file.at(names.written(layer, part, t, e)));
            for (std::int64_t r = 0; r < t.rows; ++r)
              data.set_row(e, r, values.data() + r * t.cols);
          }
        });
    return model;
  }
};

template <class Model>
void check_same_bits(written const& w) {
  auto const expected = bytes_of(*w.row_by_row<Model>());
  for (int const threads : {0, 1, 2, 3, 7}) {
    CAPTURE(threads);
    CHECK(bytes_of(*load<Model>(w.where.path(), {.threads = threads})) == expected);
  }
}

}  // namespace

TEST_CASE(
    "load: the same bits as row by row, in every storage, from every stored type, with any number "
    "of threads") {
  for (auto const type : {plait::io::stored_type::f32, plait::io::stored_type::bf16}) {
    written const w(type);
    if (type == plait::io::stored_type::f32)
      CHECK(bytes_of(*load<model_in<plait::f32>>(w.where.path())) == bytes_of(*w.net));
    check_same_bits<model_in<plait::f32>>(w);
    check_same_bits<model_in<plait::bf16>>(w);
    check_same_bits<model_in<plait::int8>>(w);
    check_same_bits<model_in<plait::experts_int8>>(w);
    check_same_bits<plait::reference_model<wide>>(w);
  }
}

TEST_CASE("load: progress begins at 0, never falls and ends at the total") {
  written const w;
  std::int64_t values = 0;
  model_in<plait::f32>::describe_tensors(
      [&](int, std::string_view, plait::tensor const& t) { values += t.size(); });
  for (int const threads : {1, 3}) {
    std::vector<std::int64_t> seen;
    bool inside = false;
    (void)load<model_in<plait::int8>>(
        w.where.path(),
        {.threads = threads, .progress = [&](std::int64_t done, std::int64_t total) {
           CHECK(!std::exchange(inside, true));  // one thread at a time
           CHECK(total == 4 * values);
           seen.push_back(done);
           inside = false;
         }});
    REQUIRE(seen.size() > 20);
    CHECK(seen.front() == 0);
    CHECK(seen.back() == 4 * values);
    for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i] > seen[i - 1]);
  }
}

TEST_CASE("load: an exception from any progress call leaves load, and no later call is made") {
  written const w;
  int calls = 0;
  (void)load<model_in<plait::bf16>>(w.where.path(),
                                    {.progress = [&](std::int64_t, std::int64_t) { ++calls; }});
  for (int const threads : {1, 4})
    for (int const fatal : {1, 2, calls / 2, calls - 1, calls}) {
      int now = 0;
      load_options const options{.threads = threads, .progress = [&](std::int64_t, std::int64_t) {
                                   REQUIRE(now < fatal);
                                   if (++now == fatal) throw std::out_of_range("enough");
                                 }};
      CHECK_THROWS_AS((void)load<model_in<plait::bf16>>(w.where.path(), options),
                      std::out_of_range);
      CHECK(now == fatal);
    }
}

TEST_CASE("load_progress: the first exception is stored, and later work is skipped") {
  load_progress progress({}, 10);
  progress.add(10);  // nobody listens
  int run = 0;
  progress.rethrow();  // nothing yet
  progress.guard([&] { ++run; });
  progress.guard([&] { throw plait::error("first"); });
  progress.guard([&] { ++run; });
  CHECK(run == 1);
  CHECK(test::message_of([&] { progress.rethrow(); }) == "first");
}

TEST_CASE(
    "a dropped page is read again, and only whole runs of pages inside the file are dropped") {
  plait::test::temporary_directory where;
  std::string bytes(300'001, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  plait::io::mapped_file const file(where.write("file", bytes)), empty(where.write("empty", ""));
  for (auto const& [first, n] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 300'001}, {1, 1}, {65'535, 2}, {300'000, 1}, {0, 0}, {131'072, 65'536}}) {
    CHECK(file.text() == bytes);
    file.drop(file.bytes().data() + first, n);
    CHECK(file.text() == bytes);
  }
  empty.drop(nullptr, 0);
  std::vector<std::byte> memory(8 + 2);  // not of a file: must stay as it is
  memory[0] = std::byte{2};
  memory[8] = std::byte{'{'};
  memory[9] = std::byte{'}'};
  plait::io::safetensors const none("x", memory);
  plait::io::tensor_view t;
  t.data = memory.data();
  t.bytes = 8;
  none.drop(t, 0, 2);
  CHECK(memory[0] == std::byte{2});
}
