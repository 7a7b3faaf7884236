// Checks of custom parts in three architectures: weights, counts, state, checkpoints.
#include "parts.hpp"

#include <plait/io.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace {

int failures = 0;
void check(bool holds, char const* what, char const* where) {
  if (holds) return;
  std::printf("%s: not so: %s\n", where, what);
  ++failures;
}

using logits = std::vector<double>;

template <class Model>
struct run {
  Model model;
  typename Model::exec_type exec;
  plait::cache_pool<Model> pool;

  run() {
    plait::initialize(model, 5, 0.3);
    model.reserve(exec, 80);
  }
  logits operator()(plait::cache<Model>& sequence, std::vector<std::int32_t> const& ids) {
    using T = typename Model::value_type;
    auto const n = static_cast<std::int64_t>(ids.size());
    std::vector<T> out(ids.size() * std::size_t(Model::vocab_size));
    plait::batch<Model> batch;
    sequence.reserve(n);
    batch.add(sequence, ids, plait::rows::all);
    model.forward(exec, batch, {out.data(), n, Model::vocab_size});
    return {out.begin(), out.end()};
  }
};

/// An architecture on the CPU against the reference in double; chunks, snapshots, forks and
/// truncation bit for bit; a checkpoint saved and loaded.
template <auto C>
void all_of_it(char const* name) {
  using on_cpu = plait::model<C>;
  run<on_cpu> cpu;
  run<plait::model<C, plait::exec::reference>> reference;
  std::vector<std::int32_t> ids(70);
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>((i * i + 3 * i) % std::size_t(C.vocab_size));

  auto whole = cpu.pool.make();
  auto oracle = reference.pool.make();
  logits const expected = reference(oracle, ids), got = cpu(whole, ids);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    worst = std::fmax(worst, std::fabs(got[i] - expected[i]));
    largest = std::fmax(largest, std::fabs(expected[i]));
  }
  check(worst < 2e-5 * largest, "f32 is double up to rounding", name);

  auto const from = [&](std::size_t first, std::size_t n) {
    return std::vector<std::int32_t>(ids.begin() + std::ptrdiff_t(first),
                                     ids.begin() + std::ptrdiff_t(first + n));
  };
  auto const rows = [&](std::size_t first, std::size_t n) {
    auto const v = std::size_t(C.vocab_size);
    return logits(got.begin() + std::ptrdiff_t(first * v),
                  got.begin() + std::ptrdiff_t((first + n) * v));
  };
  auto sequence = cpu.pool.make({.keep_snapshots = 3, .snapshot_interval = 10});
  check(cpu(sequence, from(0, 1)) == rows(0, 1), "the first token alone", name);
  check(cpu(sequence, from(1, 19)) == rows(1, 19), "a chunk on top", name);
  auto const snapshot = sequence.snapshot();
  auto other = sequence.fork();
  check(cpu(sequence, from(20, 45)) == rows(20, 45), "a longer chunk", name);
  check(cpu(other, from(20, 50)) == rows(20, 50), "a fork", name);
  auto const replay = static_cast<std::size_t>(sequence.truncate(30));
  if (replay > 0)
    check(cpu(sequence, from(30 - replay, replay)) == rows(30 - replay, replay),
          "what is replayed after a cut", name);
  check(cpu(sequence, from(30, 40)) == rows(30, 40), "on after a cut", name);
  sequence.restore(snapshot);
  check(cpu(sequence, from(20, 50)) == rows(20, 50), "on from a snapshot", name);

  auto const directory =
      std::filesystem::temp_directory_path() / (std::string("plait-own-parts-") + name);
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  plait::io::save(cpu.model, directory.string());
  auto const back = plait::io::load<on_cpu>(directory.string());
  run<on_cpu> again;
  again.model = std::move(*back);
  auto fresh = again.pool.make();
  check(again(fresh, ids) == got, "a checkpoint there and back", name);
  std::filesystem::remove_all(directory);
}

}  // namespace

int main() {
  constexpr auto n = plait::count(zoo::mixed);
  static_assert(n.layers == 7 && n.attention_layers == 1 && n.recurrent_layers == 4 &&
                n.moe_layers == 3 && n.expert_evaluations == 6);
  static_assert(plait::recurrent_state_bytes(zoo::mixed) == 4 * (2 * 21 + 2 * 66 * (3 + 5)));
  static_assert(plait::kv_cache_bytes(zoo::mixed, 10, 2) == 2 * 10 * 2 * 11);
  static_assert(plait::model<zoo::mixed>::layout.state_values * 4 ==
                plait::recurrent_state_bytes(zoo::mixed));
  // ema, squared_relu and LayerNorm by hand: two tables and a norm, then three layers' worth of
  // parts in averages_only
  static_assert(plait::count(zoo::averages_only).total_parameters ==
                29 * 24 + 24 + 3 * (24 + 2 * 24 * 24 + 24));
  static_assert(plait::count(zoo::mixed).total_parameters -
                    plait::count(zoo::mixed).active_parameters ==
                3 * 4 * 3 * 33 * 18);

  // every tensor has its place in a checkpoint, and its own name
  std::set<std::string> names;
  plait::model<zoo::mixed>::describe_tensors(
      [&](int layer, char const* part, plait::tensor const& t) {
        names.insert(std::to_string(layer) + part + t.name);
      });
  check(names.contains("0mixerdecay") && names.contains("2ffnrouter.bias") &&
            names.contains("0mixer_normbias"),
        "tensors by name", "mixed");

  all_of_it<zoo::mixed>("mixed");
  all_of_it<zoo::by_pattern>("by_pattern");
  all_of_it<zoo::averages_only>("averages_only");
  if (failures == 0) std::printf("all of it holds\n");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
