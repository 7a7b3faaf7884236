// Steps of models with the fake CUDA (fake_cuda.cpp): every launch reaches a registered kernel,
// with a legal grid and block; every product is inside allocated memory; a repeated decode step
// allocates nothing, waits for nothing, and is one graph.
#include <support/fake_cuda.hpp>

#include <plait/cuda.cuh>
#include <support/architectures.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

using test::fake_cuda;

namespace {

/// Counts of calls that a repeated step does not make: allocations, waits, queries of the device.
std::map<std::string, long> expensive_calls() {
  std::map<std::string, long> counts;
  for (char const* call :
       {"cudaMalloc", "cudaFree", "cudaMallocHost", "cudaFreeHost", "cudaStreamSynchronize",
        "cudaDeviceSynchronize", "cudaMemGetInfo", "cudaDeviceGetAttribute", "cudaMemsetAsync",
        "cudaStreamBeginCapture", "cudaGraphInstantiate", "cublasLtMatmulAlgoGetHeuristic"})
    counts[call] = fake_cuda::get(call);
  return counts;
}

/// Launches since `first`; a graph counts as its nodes.
long launches_since(std::size_t first) {
  auto const all = fake_cuda::launches();
  long n = 0;
  for (std::size_t i = first; i < all.size(); ++i)
    if (!all[i].captured) n += std::string(all[i].kernel) == "graph" ? all[i].nodes : 1;
  return n;
}

template <class Model>
class run {
 public:
  Model net;
  typename Model::exec_type exec;
  plait::cache_pool<Model> pool;
  std::vector<plait::cache<Model>> sequences;
  plait::batch<Model> batch;
  typename Model::memory::template buffer<float> logits;

  run(std::int64_t tokens, std::int64_t count) : logits(tokens * Model::vocab_size) {
    net.for_each_tensor(
        [](int, auto const&, plait::tensor const&, auto& data) { data.allocate_on_device(); });
    net.reserve(exec, tokens, count);
    for (std::int64_t s = 0; s < count; ++s) sequences.push_back(pool.make());
  }
  /// `tokens` new tokens per sequence, with logits for the last of each.
  void forward(std::vector<std::int64_t> const& tokens) {
    batch.clear();
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      sequences[s].reserve(tokens[s]);
      batch.add(sequences[s], std::vector<std::int32_t>(std::size_t(tokens[s]), 3));
    }
    net.forward(exec, batch, {logits.data(), batch.rows_wanted(), Model::vocab_size});
  }
};

/// Ragged prompts, a further chunk, decode steps until they are captured; then one step is checked.
template <auto C, plait::precision P>
void steps() {
  using model = plait::model<C, plait::exec::device<P, plait::exec::cuda_runtime>>;
  fake_cuda::reset();
  run<model> r(128, 3);
  r.forward({70, 1, 33});
  r.forward({9, 0, 1});
  std::size_t const first = fake_cuda::launches().size();
  r.forward({1, 1, 1});
  long const launched = launches_since(first);
  CHECK(launched > 0);
  r.forward({1, 1, 1});  // captured and replayed
  auto const before = expensive_calls();
  std::size_t const second = fake_cuda::launches().size();
  r.forward({1, 1, 1});
  CHECK(expensive_calls() == before);
  auto const launches = fake_cuda::launches();
  CHECK(launches.size() == second + 1);
  CHECK(std::string(launches.back().kernel) == "graph");
  CHECK(launches.back().nodes == launched);
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
  MESSAGE(launched << " launches per step of " << plait::plan<C>::layers << " layers");
}

template <auto C>
void in_every_precision() {
  SUBCASE("f32") { steps<C, plait::f32>(); }
  SUBCASE("bf16") { steps<C, plait::bf16>(); }
  SUBCASE("int8") { steps<C, plait::int8>(); }
  SUBCASE("experts_int8") { steps<C, plait::experts_int8>(); }
}

}  // namespace

TEST_CASE("launch: attention, Mamba, dense and sparse feed-forwards") {
  in_every_precision<test::everything>();
}
TEST_CASE("launch: rotary attention and renormalised experts") {
  in_every_precision<test::rotary>();
}
TEST_CASE("launch: one sublayer per layer, biases, no window") {
  steps<test::mamba_only, plait::bf16>();
}

TEST_CASE("launch: a step of Jamba v0.1 in int8 has fewer than 300 launches") {
  using model = plait::model<plait::configs::jamba_v0_1, plait::exec::cuda<plait::int8>>;
  fake_cuda::reset();
  for (std::int64_t sequences : {1, 64}) {
    auto r = std::make_unique<run<model>>(64, sequences);
    std::size_t const first = fake_cuda::launches().size();
    r->forward(std::vector<std::int64_t>(std::size_t(sequences), 1));
    long const launched = launches_since(first);
    MESSAGE(launched << " launches per step of " << sequences << " sequences");
    // Above 8 sequences routing is a launch of its own, in a step of milliseconds.
    CHECK(launched < (sequences <= 8 ? 300 : 320));
    std::map<std::string, int> names;
    auto const launches = fake_cuda::launches();
    for (std::size_t i = first; i < launches.size(); ++i) {
      std::string const name = launches[i].kernel;
      auto const at = name.find("kernels::");
      ++names[at == name.npos ? name : name.substr(at + 9, name.find_first_of("<>(", at) - at - 9)];
    }
    for (auto const& [name, count] : names) MESSAGE(count << " x " << name);
  }
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}
