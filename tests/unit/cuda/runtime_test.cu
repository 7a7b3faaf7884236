// The runtime of exec::cuda with the fake CUDA (fake_cuda.cpp), which refuses, fails and runs out
// of memory on request.
#include <support/fake_cuda.hpp>
#include <support/message.hpp>
#include <support/on_device.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <string>

using test::fake_cuda;
using test::message_of;
using exec = plait::exec::cuda<>;
using T = plait::bf16_t;

namespace {

std::string made() {
  return message_of([] { exec(); });
}

/// A working device of compute capability 9.0 with one GiB.
struct working_device {
  working_device() {
    fake_cuda::reset();
    fake_cuda::set("devices", 1);
    fake_cuda::set("capability", 90);
    fake_cuda::set("memory", 1L << 30);
    fake_cuda::set("driver", CUDART_VERSION);
  }
  ~working_device() { CHECK(fake_cuda::problems() == std::vector<std::string>{}); }
};

void add(exec& e, std::int64_t rows, std::int64_t cols, test::on_device<T>& x) {
  plait::ops::add_residual(e, x.view(rows, cols), plait::matrix_view<T const>(x.view(rows, cols)));
}

/// A kernel of this file alone.
struct writes_one {
  struct args {
    float* to;
  };
  static constexpr int threads = 64;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const&, shared<Block>&, args const& a) {
    *a.to = 1;
  }
};

}  // namespace

TEST_CASE("fake CUDA: preloaded") { REQUIRE(fake_cuda::preloaded()); }

TEST_CASE(
    "exec::cuda: without a device, with an old driver or device, or without kernels for it the "
    "constructor throws") {
  working_device const device;
  CHECK(made() == "(no error)");
  fake_cuda::set("devices", 0);
  CHECK(made() == "exec::cuda: there is no CUDA device");
  fake_cuda::fail("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  fake_cuda::set("driver", 0);
  CHECK(made() == "exec::cuda: there is no CUDA device: this machine has no NVIDIA driver");
  fake_cuda::fail("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  fake_cuda::set("driver", 12040);
  CHECK(
      made() ==
      "exec::cuda: the NVIDIA driver is too old: it is made for CUDA 12.4, this program for CUDA " +
          std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10));
  fake_cuda::fail("cudaGetDeviceCount", 1, cudaErrorSystemNotReady);
  CHECK(
      made() ==
      "exec::cuda: there is no CUDA device: system not yet initialized (cudaErrorSystemNotReady)");
  fake_cuda::set("devices", 1);
  fake_cuda::set("capability", 75);
  CHECK(made() == "exec::cuda: device 0 has compute capability 7.5; 8.0 or newer is needed");
  fake_cuda::set("capability", 121);
  fake_cuda::fail("cudaFuncGetAttributes", 1, cudaErrorNoKernelImageForDevice);
  CHECK(made() ==
        "exec::cuda: device 0 has compute capability 12.1, and this program has no kernels for it: "
        "compile it with -arch=sm_121");
  CHECK(fake_cuda::get("cudaMalloc") == 1);  // by the one constructor that succeeded
  CHECK(fake_cuda::get("in_use") == 0);
}

TEST_CASE(
    "exec::cuda: out of memory: the purpose, the bytes needed, those of the device, those free") {
  working_device const device;
  exec e;
  fake_cuda::set("memory", 100L << 20);
  CHECK(message_of([&] { e.workspace.reserve(200L << 20); }) ==
        "exec::cuda: out of memory: the workspace of such calls needs 209715200 bytes (0.2 GiB) of "
        "the device, of whose 104857600 bytes (0.1 GiB) "
        "71303168 bytes (0.1 GiB) are free");
  CHECK(e.workspace.capacity() == 0);
  CHECK(message_of([] { plait::exec::cuda_memory::buffer<float> all(50 << 20); }) ==
        "exec::cuda: out of memory: a block needs 209715200 bytes (0.2 GiB) of the device, of "
        "whose 104857600 bytes (0.1 GiB) 71303168 bytes (0.1 GiB) "
        "are free");
  CHECK(message_of([] { plait::exec::cuda_memory::buffer<float> all(-1); }) ==
        "exec::cuda: out of memory: -1 values of 4 bytes are needed");
  fake_cuda::fail("cudaMalloc", 1, cudaErrorMemoryAllocation);
  CHECK(message_of([] { plait::exec::cuda_memory::buffer<float> all(1000); }) ==
        "exec::cuda: out of memory: 4000 bytes in one piece are needed");
  plait::exec::cuda_memory::buffer<float> small(1000);  // the device still works
  CHECK(small.data() != nullptr);

  plait::single_layer<4096, plait::mlp{.d_ff = 14336}, exec> dense;
  CHECK(message_of([&] { e.upload_weights(dense); })
            .starts_with("exec::cuda: out of memory: the weights of this model needs 352321536 "
                         "bytes (0.3 GiB)"));

  plait::basic_cache_pool<float, plait::exec::cuda_memory> pool(
      {.state_values = 10, .page_bytes = 1 << 20});
  auto sequence = pool.make();
  sequence.reserve(128);
  CHECK(message_of([&] { sequence.reserve(100 * 64); })
            .starts_with("exec::cuda: out of memory: room for so many more keys and values needs "
                         "102760448 bytes (0.1 GiB)"));
  CHECK(sequence.capacity() == 128);
}

TEST_CASE("cuda_memory: zeroed, copied and cleared") {
  working_device const device;
  std::vector<int> const values{1, 2, 3, 4, 5};
  test::on_device<int> a(values), b(5);
  CHECK(b.values() == std::vector<int>(5));
  plait::exec::cuda_memory::copy(std::as_const(a).values().data(), 0, b.data());
  plait::exec::cuda_memory::copy<int>(a.data() + 1, 3, b.data());
  CHECK(b.values() == std::vector<int>{2, 3, 4, 0, 0});
  plait::exec::cuda_memory::clear(b.data() + 1, 1);
  CHECK(b.values() == std::vector<int>{2, 0, 4, 0, 0});
  test::on_device<int> c = std::move(b);
  CHECK(c.values() == std::vector<int>{2, 0, 4, 0, 0});
}

TEST_CASE("launch: the grid that reaches CUDA, and grids that are refused before") {
  working_device const device;
  exec e;
  test::on_device<T> x(3 * 40);
  add(e, 3, 40, x);
  auto const launches = fake_cuda::launches();
  REQUIRE(launches.size() == 1);
  CHECK(launches[0].grid[0] == 3);
  CHECK(launches[0].threads ==
        plait::kernels::update_rows<plait::kernels::update::add, T, T>::threads);
  CHECK(std::string(launches[0].kernel).find("update_rows") != std::string::npos);
  CHECK(message_of([&] { e.launch<writes_one>({.x = 1, .y = 65536}, {nullptr}); }) ==
        "exec::cuda: a launch of 1 x 65536 x 1 blocks; a device takes at most 2147483647 x 65535 x "
        "65535: use fewer tokens per call");
  e.launch<writes_one>({.x = 0}, {nullptr});
  e.workspace.measure([&] { e.launch<writes_one>({.x = 1}, {nullptr}); });
  CHECK(fake_cuda::launches().size() == 1);
  fake_cuda::fail("cudaLaunchKernel", 1, cudaErrorLaunchOutOfResources);
  std::string const refused = message_of([&] { e.launch<writes_one>({.x = 1}, {nullptr}); });
  CHECK(refused.starts_with("exec::cuda: "));
  CHECK(refused.find("writes_one") != std::string::npos);
  CHECK(refused.find("too many resources requested for launch (cudaErrorLaunchOutOfResources)") !=
        std::string::npos);
  e.launch<writes_one>({.x = 1}, {nullptr});  // the runtime still works
}

TEST_CASE(
    "copy_to_device: in order, from memory that may change after the call; later calls allocate "
    "nothing") {
  working_device const device;
  exec e;
  test::on_device<int> on_device(100);
  std::vector<int> on_host(100);
  for (int i = 0; i < 12; ++i) {
    std::iota(on_host.begin(), on_host.end(), i);
    e.runtime.copy_to_device(on_device.data(), on_host.data(), 400);
    auto const copied = on_host;
    std::fill(on_host.begin(), on_host.end(), -1);
    CHECK(on_device.values() == copied);
  }
  long const pinned = fake_cuda::get("cudaMallocHost");
  for (int i = 0; i < 12; ++i) e.runtime.copy_to_device(on_device.data(), on_host.data(), 400);
  CHECK(fake_cuda::get("cudaMallocHost") == pinned);
  e.runtime.copy_to_host(on_host.data(), on_device.data(), 8);
  CHECK(on_host[0] == -1);
}

TEST_CASE("capture: launches are recorded and replayed as one graph; an error ends the capture") {
  working_device const device;
  exec e;
  test::on_device<T> x(3 * 40);
  auto const captured = e.runtime.capture([&] {
    add(e, 3, 40, x);
    add(e, 2, 40, x);
  });
  for (auto const& l : fake_cuda::launches()) CHECK(l.captured);
  e.runtime.replay(captured);
  e.runtime.replay(captured);
  auto const launches = fake_cuda::launches();
  REQUIRE(launches.size() == 4);
  CHECK(std::string(launches[3].kernel) == "graph");
  CHECK(launches[3].nodes == 2);
  int value = 0;
  CHECK(message_of(
            [&] { e.runtime.capture([&] { e.runtime.copy_to_host(&value, x.data(), 4); }); }) ==
        "exec::cuda: copy_to_host during a capture; a captured step copies nothing to the host");
  add(e, 3, 40, x);
  CHECK(!fake_cuda::launches().back().captured);
  CHECK(message_of([&] {
          e.execute({.sequences = 1, .rows = 1, .repeatable = true}, [] {});
          e.execute({.sequences = 1, .rows = 1, .repeatable = true},
                    [&] { e.runtime.copy_to_host(&value, x.data(), 4); });
        }) ==
        "exec::cuda: copy_to_host during a capture; a captured step copies nothing to the host");
  CHECK(!e.in_step());
}

TEST_CASE("gemm: cuBLASLt is asked once per shape; similar numbers of rows share an algorithm") {
  working_device const device;
  exec e;
  test::on_device<T> x(1000 * 64), w(48 * 64), y(1000 * 48);
  test::on_device<float> z(1000 * 48);
  auto const product = [&](std::int64_t rows) {
    e.gemm(
        plait::exec::matrix_product<T, T>{x.data(), 64, w.data(), 64, y.data(), 48, rows, 48, 64});
    e.gemm(plait::exec::matrix_product<T, float>{x.data(), 64, w.data(), 64, z.data(), 48, rows, 48,
                                                 64});
  };
  auto const asked = [] { return fake_cuda::get("cublasLtMatmulAlgoGetHeuristic"); };
  product(7);
  product(7);
  CHECK(asked() == 2);
  product(8);
  CHECK(asked() == 4);
  product(1000);
  product(961);
  product(1000);
  CHECK(asked() == 6);
  product(0);
  CHECK(fake_cuda::launches().size() == 12);
  auto const last = fake_cuda::launches().back();
  CHECK(last.grid[0] == 48);
  CHECK(last.grid[1] == 1000);
  CHECK(last.grid[2] == 64);
  fake_cuda::fail("cublasLtMatmulAlgoGetHeuristic", 1, 1);
  CHECK(message_of([&] { product(9); }) ==
        "exec::cuda: cuBLASLt has no algorithm for [9, 64] with [48, 64]^T "
        "(CUBLAS_STATUS_NOT_SUPPORTED)");
  fake_cuda::reset();
}

TEST_CASE(
    "seconds: the time between two events, after a kernel that occupies the device during the "
    "launches") {
  working_device const device;
  exec e;
  test::on_device<T> x(3 * 40);
  for (int i = 0; i < 2; ++i) {
    std::size_t const first = fake_cuda::launches().size();
    // The fake's events are a millisecond apart.
    CHECK(e.runtime.seconds([&] { add(e, 3, 40, x); }) == doctest::Approx(1e-3));
    auto const launches = fake_cuda::launches();
    REQUIRE(launches.size() == first + 2);
    CHECK(std::string(launches[first].kernel).find("busy_wait") != std::string::npos);
    CHECK(std::string(launches[first + 1].kernel).find("update_rows") != std::string::npos);
  }
  fake_cuda::fail("cudaEventRecord", 2, cudaErrorInvalidResourceHandle);
  CHECK(message_of([&] {
          e.runtime.seconds([] {});
        }).starts_with("exec::cuda: cudaEventRecord failed: "));
  fake_cuda::reset();
  fake_cuda::set("memory", 4L << 30);
  CHECK(e.runtime.memory_bytes() == 4L << 30);
  CHECK(e.runtime.last_level_cache_bytes() == 50 << 20);
  CHECK(e.runtime.probe_bytes() == 256 << 20);
  fake_cuda::set("memory", 141L << 30);
  CHECK(e.runtime.probe_bytes() == 1 << 30);
}

// The last test: after a failed kernel the process cannot use the device.
TEST_CASE(
    "exec::cuda: after a failed kernel every call throws, with the name of the last kernel "
    "launched") {
  working_device const device;
  exec e;
  test::on_device<T> x(3 * 40);
  plait::basic_cache_pool<float, plait::exec::cuda_memory> pool(
      {.state_values = 10, .page_bytes = 1 << 20});
  auto sequence = pool.make();
  add(e, 3, 40, x);
  fake_cuda::fail("cudaStreamSynchronize", 1, cudaErrorIllegalAddress);
  std::string const first = message_of([&] { e.runtime.synchronize(); });
  CHECK(first.starts_with(
      "exec::cuda: cudaStreamSynchronize failed: an illegal memory access was encountered "
      "(cudaErrorIllegalAddress); the last kernel launched was plait::"));
  CHECK(first.find("kernels::update_rows<") != std::string::npos);
  CHECK(first.find("CUDA_LAUNCH_BLOCKING=1") != std::string::npos);
  CHECK(first.ends_with("This process cannot use the device any more"));
  std::string const later =
      "exec::cuda: an earlier kernel failed (an illegal memory access was encountered "
      "(cudaErrorIllegalAddress), the last kernel launched was plait::";
  CHECK(message_of([&] { add(e, 3, 40, x); }).starts_with(later));
  CHECK(message_of([&] { (void)x.values(); }).starts_with(later));
  CHECK(message_of([&] { e.workspace.reserve(100); }).starts_with(later));
  CHECK(message_of([&] { sequence.reserve(1); }).starts_with(later));
  CHECK(message_of([&] { (void)sequence.snapshot(); }).starts_with(later));
  CHECK(made().starts_with(later));
  CHECK(made().ends_with(
      "this process cannot use the device any more, and the contents of its caches are lost"));
}
