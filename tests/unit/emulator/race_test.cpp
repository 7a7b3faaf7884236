// Races between the threads of an emulated device: ThreadSanitizer reports every race, in any order
// of the threads, and nothing else.
#include <support/device_data.hpp>
#include <support/kernels.hpp>

#include <doctest/doctest.h>

namespace {
int reports = 0;
}
// ThreadSanitizer calls the first for each report. Here reports are expected: the exit status stays
// 0.
extern "C" void __tsan_on_report(void*) { ++reports; }
extern "C" char const* __tsan_default_options() { return "exitcode=0"; }

namespace {

using plait::emulator::memory;

enum class between { nothing, shuffle, warp_barrier, block_barrier };

/// Each thread writes to shared memory, then reads the value of thread (own number ^ Distance).
template <between Order, int Distance>
struct neighbours {
  using args = float*;
  static constexpr int threads = 64;
  template <class>
  struct shared {
    float values[threads];
  };
  template <class Block>
  static void run(Block const& b, shared<Block>& s, float* const& to) {
    s.values[b.thread()] = 1;
    if constexpr (Order == between::shuffle) (void)b.shuffle(1.0f, 0);
    if constexpr (Order == between::warp_barrier) b.sync_warp();
    if constexpr (Order == between::block_barrier) b.sync();
    to[b.x() * threads + b.thread()] = s.values[b.thread() ^ Distance];
  }
};

/// Every block adds to global memory; Shared: all to the same addresses.
template <bool Shared>
struct accumulate {
  using args = float*;
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  static void run(Block const& b, shared<Block>&, float* const& to) {
    b.sync();
    to[(Shared ? 0 : b.x() * threads) + b.thread()] += 1;
    b.sync();
  }
};

/// Collectives reuse their space after a barrier.
struct collectives : test::collective_kernel<float> {
  template <class Block>
  static void run(Block const& b, shared<Block>& s, float* const& to) {
    float x[1] = {b.sum(s.sums, 1.0f) + b.shuffle_xor(1.0f, 1)}, carry = 0;
    b.sync();
    x[0] += b.maximum(s.sums, x[0]);
    b.scan(
        s.scans, x, [](float l, float r) { return l + r; }, carry);
    to[b.x() * threads + b.thread()] = x[0];
  }
};

template <class Kernel>
int races(std::int64_t blocks) {
  auto exec = test::device_with<plait::f32>(3);
  memory::buffer<float> out(1024);
  reports = 0;
  exec.launch<Kernel>({.x = blocks}, out.data());
  return reports;
}

}  // namespace

TEST_CASE(
    "races in shared memory: a barrier of both threads orders their accesses; a shuffle, or the "
    "barrier of one warp for another, does not") {
  CHECK(races<neighbours<between::nothing, 1>>(1) > 0);
  CHECK(races<neighbours<between::shuffle, 1>>(1) > 0);
  CHECK(races<neighbours<between::warp_barrier, 32>>(1) > 0);
  CHECK(races<neighbours<between::warp_barrier, 31>>(3) == 0);
  CHECK(races<neighbours<between::block_barrier, 63>>(3) == 0);
  CHECK(races<neighbours<between::nothing, 0>>(3) == 0);
}

TEST_CASE(
    "races in global memory: no barrier orders blocks; a launch is ordered with the next one and "
    "with the host") {
  CHECK(races<accumulate<true>>(2) > 0);
  CHECK(races<accumulate<false>>(2) == 0);
  auto exec = test::device_with<plait::f32>(4);
  memory::buffer<float> out(64);
  reports = 0;
  for (int i = 0; i < 3; ++i) exec.launch<accumulate<true>>({.x = 1}, out.data());
  memory::clear(out.data(), 64);
  exec.launch<accumulate<false>>({.x = 2}, out.data());
  float first = 0;
  memory::copy_out(out.data(), 1, &first);
  CHECK(first == 1);
  CHECK(reports == 0);
}

TEST_CASE("races: a block's sums, maxima and scans have none") {
  CHECK(races<collectives>(2) == 0);
}
