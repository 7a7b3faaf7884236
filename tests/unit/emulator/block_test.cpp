// The emulator against the block concept (gpu/block.hpp), and the mistakes that it reports.
#include <support/device_data.hpp>
#include <support/kernels.hpp>

#include <doctest/doctest.h>

#include <set>

namespace {

using plait::emulator::memory;

struct no_space {};

/// A kernel whose body is a function object of block, shared memory and arguments.
template <class Args, class Shared, auto Body, int Threads = 64>
struct kernel_of {
  using args = Args;
  static constexpr int threads = Threads;
  template <class>
  using shared = Shared;
  template <class Block>
  static void run(Block const& b, Shared& s, args const& a) {
    Body(b, s, a);
  }
};

struct pair {
  float a, b;
};

struct collectives : test::collective_kernel<pair> {
  template <class Block>
  static void run(Block const& b, shared<Block>& s, float* const& to) {
    float const x = static_cast<float>(b.thread());
    float* const at = to + b.thread() * 6;
    at[0] = b.shuffle(x, 5);
    at[1] = plait::kernels::warp_sum(b, x);
    at[2] = plait::kernels::warp_maximum(b, x);
    at[3] = b.sum(s.sums, x);
    pair v[2] = {{1, x}, {1, 100 * x}}, carry{1, 0.5f};
    b.scan(
        s.scans, v,
        [](pair l, pair r) {
          return pair{l.a * r.a, r.a * l.b + r.b};
        },
        carry);
    at[4] = v[0].b;
    at[5] = v[1].b + 0 * carry.b;
  }
};

enum class mistake {
  early_return,
  divergent_shuffle,
  lane_out_of_range,
  unaligned_to,
  unaligned_from,
  none
};

template <mistake M>
struct misused {
  struct args {};
  static constexpr int threads = 64;
  template <class>
  struct shared {
    alignas(16) std::byte to[32];
    alignas(16) std::byte from[32];
  };
  template <class Block>
  static void run(Block const& b, shared<Block>& s, args const&) {
    if constexpr (M == mistake::early_return) {
      if (b.thread() < 3) return;
      b.sync();
    }
    if constexpr (M == mistake::divergent_shuffle)
      if (b.lane() % 2 == 0) (void)b.shuffle_xor(1.0f, 1);
    if constexpr (M == mistake::lane_out_of_range) (void)b.shuffle(1.0f, 32);
    if constexpr (M == mistake::unaligned_to) b.copy_async(s.to + 8, s.from);
    if constexpr (M == mistake::unaligned_from) b.copy_async(s.to, s.from + 8);
  }
};

template <class Kernel, class Device>
std::string message_of(Device& exec, plait::launch_grid grid) {
  return test::message_of([&] { exec.template launch<Kernel>(grid, {}); });
}

template <class T>
std::vector<T> fetched(memory::buffer<T> const& from) {
  std::vector<T> to(std::size_t(from.size()));
  memory::copy_out(from.data(), from.size(), to.data());
  return to;
}

}  // namespace

TEST_CASE("block: every thread of every block runs once; barriers hold in any order of threads") {
  struct space {
    int value[64];
  };
  for (std::uint64_t const seed : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}}) {
    auto exec = test::device_with<plait::f32>(seed);
    memory::buffer<int> out(64 * 6);
    constexpr auto body = [](auto const& b, space& s, int* const& to) {
      s.value[b.thread()] = b.thread();
      b.sync();
      int const other = s.value[63 - b.thread()];
      b.sync();
      to[((b.z() * 3 + b.y()) * 2 + b.x()) * 64 + b.thread()] += other + 1;
    };
    exec.launch<kernel_of<int*, space, body>>({.x = 2, .y = 3, .z = 1}, out.data());
    auto const all = fetched(out);
    for (int i = 0; i < 64 * 6; ++i) CHECK(all[std::size_t(i)] == 64 - i % 64);
  }
}

TEST_CASE("block: without a barrier results depend on the order of threads" *
          doctest::skip(plait::emulator::thread_sanitizer)) {  // reported: race_test.cpp
  struct space {
    int last;
  };
  std::set<int> seen;
  for (std::uint64_t seed = 1; seed < 12; ++seed) {
    auto exec = test::device_with<plait::f32>(seed);
    memory::buffer<int> out(1);
    constexpr auto body = [](auto const& b, space& s, int* const& to) {
      s.last = b.thread();  // a race
      b.sync();
      if (b.thread() == 0) *to = s.last;
    };
    exec.launch<kernel_of<int*, space, body>>({}, out.data());
    seen.insert(fetched(out)[0]);
  }
  CHECK(seen.size() > 3);
}

TEST_CASE("block: a barrier that not all threads reach is an error") {
  auto exec = test::device_with<plait::f32>();
  CHECK(message_of<misused<mistake::early_return>>(exec, {.x = 2, .y = 3}) ==
        "exec::emulated: (anonymous namespace)::misused<((anonymous namespace)::mistake)0>, block "
        "(1, 0, 0): "
        "a barrier that not all threads reach: 61 wait for the block, 0 for their warp, 3 of 64 "
        "have ended");
  CHECK(message_of<misused<mistake::divergent_shuffle>>(exec, {}) ==
        "exec::emulated: (anonymous namespace)::misused<((anonymous namespace)::mistake)1>, block "
        "(0, 0, 0): "
        "a barrier that not all threads reach: 0 wait for the block, 32 for their warp, 32 of 64 "
        "have ended");
  // The threads of failed launches are gone.
  CHECK(message_of<misused<mistake::none>>(exec, {}) == "(no error)");
}

TEST_CASE("block: misuse of a block, a launch or a copy is an error") {
  auto exec = test::device_with<plait::f32>();
  std::string const at =
      "exec::emulated: (anonymous namespace)::misused<((anonymous namespace)::mistake)";
  CHECK(message_of<misused<mistake::lane_out_of_range>>(exec, {}).starts_with(
      at + "2>, block (0, 0, 0), thread "));
  CHECK(message_of<misused<mistake::lane_out_of_range>>(exec, {}).ends_with(
      ": a shuffle from lane 32, expected 0 to 31"));
  CHECK(message_of<misused<mistake::unaligned_to>>(exec, {}).ends_with(
      ": copy_async to an address that is no multiple of 16"));
  CHECK(message_of<misused<mistake::unaligned_from>>(exec, {}).ends_with(
      ": copy_async from an address that is no multiple of 16"));
  CHECK(message_of<misused<mistake::none>>(exec, {.y = 65536}) ==
        at + "5>: a launch of 1 x 65536 x 1 blocks, expected at most 2147483647 x 65535 x 65535");
  CHECK(test::message_of([] { plait::emulator::fibers const block(48); }) ==
        "exec::emulated: a block of 48 threads, expected whole warps of 32, at most 1024 threads");
  CHECK(test::message_of([] { memory::buffer<float> const negative(-1); }) ==
        "exec::emulated: a buffer of -1 values, expected 0 or more");
  float value = 0;
  memory::buffer<float> const device_value(1);
  CHECK(test::message_of([&] {
          (void)exec.runtime.capture(
              [&] { exec.runtime.copy_to_host(&value, device_value.data(), 4); });
        }) ==
        "exec::emulated: copy_to_host of 4 bytes during a capture; a captured step copies nothing "
        "to the host");
  exec.runtime.copy_to_host(&value, device_value.data(), 4);  // the capture has ended
  CHECK(exec.runtime.copies_to_host == 1);
}

TEST_CASE(
    "block: launches are listed by their kernels' names; a captured step adds none, and replays "
    "after the runtime has moved") {
  auto exec = test::device_with<plait::f32>();
  memory::buffer<float> out(64 * 6);
  exec.launch<collectives>({}, out.data());
  CHECK(exec.runtime.launches == std::vector<std::string>{"(anonymous namespace)::collectives"});
  memory::clear(out.data(), out.size());
  auto const steps = exec.runtime.capture([&] { exec.launch<collectives>({}, out.data()); });
  CHECK(fetched(out)[0] == 0);
  plait::emulator::runtime moved = std::move(exec.runtime);
  moved.replay(steps);
  CHECK(fetched(out)[0] == 5);
  CHECK(moved.launches.size() == 1);
}

TEST_CASE("block: shared memory holds NaN until it is written") {
  struct space {
    float value[64];
  };
  auto exec = test::device_with<plait::f32>();
  memory::buffer<float> out(64);
  constexpr auto body = [](auto const& b, space& s, float* const& to) {
    to[b.thread()] = s.value[b.thread()];
  };
  exec.launch<kernel_of<float*, space, body>>({}, out.data());
  for (float v : fetched(out)) CHECK(v != v);
}

TEST_CASE(
    "block: an asynchronous copy is complete after the wait for its group, not before; without a "
    "source it writes zeros") {
  struct space {
    alignas(16) float value[3][32][4];
  };
  auto exec = test::device_with<plait::f32>();
  memory::buffer<float> from(3 * 32 * 4), out(3 * 3 * 32);
  std::vector<float> numbers(3 * 32 * 4);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i + 1);
  memory::copy_in(numbers.data(), from.size(), from.data());
  struct addresses {
    float const* from;
    float* to;
  };
  constexpr auto body = [](auto const& b, space& s, addresses const& a) {
    auto const record = [&](int when) {
      for (int i = 0; i < 3; ++i)
        a.to[(when * 3 + i) * 32 + b.thread()] = s.value[i][b.thread()][3];
    };
    for (int i = 0; i < 3; ++i) {
      b.copy_async(s.value[i][b.thread()], a.from + (i * 32 + b.thread()) * 4, i != 1);
      b.commit_copies();
    }
    record(0);
    plait::kernels::wait_for_copies<1>(b);
    record(1);
    plait::kernels::wait_for_copies<0>(b);
    record(2);
  };
  exec.launch<kernel_of<addresses, space, body, 32>>({}, {from.data(), out.data()});
  auto const all = fetched(out);
  auto const seen = [&](int when, int i, int thread) {
    return all[std::size_t((when * 3 + i) * 32 + thread)];
  };
  for (int t = 0; t < 32; ++t) {
    for (int i = 0; i < 3; ++i) CHECK(seen(0, i, t) != seen(0, i, t));
    CHECK(seen(1, 2, t) != seen(1, 2, t));
    for (int when : {1, 2}) {
      CHECK(seen(when, 0, t) == static_cast<float>(4 * t + 4));
      CHECK(seen(when, 1, t) == 0);
    }
    CHECK(seen(2, 2, t) == static_cast<float>(4 * (64 + t) + 4));
  }
}

TEST_CASE("block: shuffles, warp and block reductions, scan") {
  auto exec = test::device_with<plait::f32>(7);
  memory::buffer<float> out(64 * 6);
  exec.launch<collectives>({}, out.data());
  auto const all = fetched(out);
  float sum = 0.5f;
  for (int t = 0; t < 64; ++t) {
    float const* const at = all.data() + t * 6;
    CHECK(at[0] == static_cast<float>(t / 32 * 32 + 5));
    CHECK(at[1] == (t < 32 ? 496.0f : 1520.0f));
    CHECK(at[2] == (t < 32 ? 31.0f : 63.0f));
    CHECK(at[3] == 2016.0f);
    CHECK(at[4] == (sum += static_cast<float>(t)));
    CHECK(at[5] == (sum += static_cast<float>(100 * t)));
  }
}

// PTX ISA, fragments of mma.m16n8k16: a row-major, b column-major.
TEST_CASE("block: mma multiplies 16 x 16 by 16 x 8") {
  struct tiles {
    float a[16][16], b[16][8], c[16][8];
  };
  auto exec = test::device_with<plait::f32>(9);
  test::random random(1);
  tiles t;
  for (auto& row : t.a)
    for (float& v : row) v = plait::from_bf16(plait::to_bf16(random.uniform()));
  for (auto& row : t.b)
    for (float& v : row) v = plait::from_bf16(plait::to_bf16(random.uniform()));
  for (auto& row : t.c)
    for (float& v : row) v = random.uniform();
  memory::buffer<tiles> memory(1);
  memory::copy_in(&t, 1, memory.data());
  constexpr auto body = [](auto const& b, no_space&, tiles* const& m) {
    int const g = b.lane() / 4, p = b.lane() % 4 * 2;
    auto const two = [](float low, float high) {
      return std::uint32_t{plait::to_bf16(low)} | std::uint32_t{plait::to_bf16(high)} << 16;
    };
    std::uint32_t const fa[4] = {
        two(m->a[g][p], m->a[g][p + 1]), two(m->a[g + 8][p], m->a[g + 8][p + 1]),
        two(m->a[g][p + 8], m->a[g][p + 9]), two(m->a[g + 8][p + 8], m->a[g + 8][p + 9])};
    std::uint32_t const fb[2] = {two(m->b[p][g], m->b[p + 1][g]),
                                 two(m->b[p + 8][g], m->b[p + 9][g])};
    float sums[4] = {m->c[g][p], m->c[g][p + 1], m->c[g + 8][p], m->c[g + 8][p + 1]};
    b.mma(sums, fa, fb);
    m->c[g][p] = sums[0];
    m->c[g][p + 1] = sums[1];
    m->c[g + 8][p] = sums[2];
    m->c[g + 8][p + 1] = sums[3];
  };
  exec.launch<kernel_of<tiles*, no_space, body, 32>>({}, memory.data());
  tiles const got = fetched(memory)[0];
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c) {
      double sum = double{t.c[r][c]};
      for (int k = 0; k < 16; ++k) sum += double{t.a[r][k]} * double{t.b[k][c]};
      CHECK(got.c[r][c] == doctest::Approx(sum).epsilon(1e-5));
    }
}
