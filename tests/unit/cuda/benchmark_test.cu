// Benchmarks with the fake CUDA (fake_cuda.cpp), whose kernels do nothing: every launch and product
// is checked, and a result that fails its check has no time.
#include <support/fake_cuda.hpp>

#include <plait/cuda.cuh>

#include <plait/benchmark/register_layer.hpp>
#include <plait/benchmark/register_model.hpp>
#include <plait/benchmark/run.hpp>

#include <support/architectures.hpp>
#include <support/benchmarks.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using test::fake_cuda;

TEST_CASE("benchmark: a layer and a model on a device that computes nothing have no time") {
  fake_cuda::reset();
  using gpu = plait::exec::cuda<plait::bf16>;
  plait::bench::register_layer<plait::single_layer<64, plait::mamba{.d_state = 16}, gpu>>(
      "mamba", {.tokens = {1}});
  plait::bench::register_layer<plait::mlp_layer<64, plait::mlp{.d_ff = 96}>, gpu>("mlp",
                                                                                  {.tokens = {64}});
  plait::bench::register_model<test::everything, plait::exec::cuda<plait::int8>>("model",
                                                                                 {.tokens = {1}});
  auto const results = test::run_registered();
  REQUIRE(results.size() == 3);
  CHECK(results[0].name.find("mamba/bf16/tokens:1/context:0/weights:cold") == 0);
  for (auto const& r : results) CHECK(r.error.find("the result is off by ") == 0);
  CHECK(fake_cuda::launches().size() > 0);
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}

TEST_CASE(
    "benchmark: the roofline's products and copies, and the copies that exceed the L2 cache") {
  fake_cuda::reset();
  plait::exec::cuda<plait::bf16> exec;
  CHECK(plait::bench::cold_bytes(exec) == 8 * exec.runtime.last_level_cache_bytes());
  fake_cuda::set("memory", 64L << 20);
  CHECK(plait::bench::cold_bytes(exec) == 8L << 20);
  std::size_t const before = fake_cuda::launches().size();
  (void)plait::bench::probe_roofline(exec, plait::dtype::bf16);
  auto const launches = fake_cuda::launches();
  long products = 0, others = 0;
  for (std::size_t i = before; i < launches.size(); ++i)
    ++(std::string(launches[i].kernel) == "gemm" ? products : others);
  CHECK(products == 11);
  CHECK(others == 22);  // one kernel that occupies the device before each product and copy
  CHECK(fake_cuda::problems() == std::vector<std::string>{});
}
