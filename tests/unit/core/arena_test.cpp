#include <plait/core/arena.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <cstring>

TEST_CASE("arena: the measured size is the least that suffices") {
  plait::arena arena;
  auto const work = [&](std::int64_t n) {
    plait::arena::frame const outer(arena);
    float* const a = arena.take<float>(n);
    {
      plait::arena::frame const inner(arena);
      double* const b = arena.take<double>(n);
      if (!arena.measuring()) std::memset(b, 1, static_cast<std::size_t>(n) * sizeof(double));
    }
    char* const c = arena.take<char>(n);  // in the place of b
    if (!arena.measuring()) {
      std::memset(a, 1, static_cast<std::size_t>(n) * sizeof(float));
      std::memset(c, 1, static_cast<std::size_t>(n));
    }
    return a;
  };
  for (std::int64_t n : {1, 3, 17, 129, 1000}) {
    std::int64_t const needed = arena.measure([&] { CHECK(work(n) == nullptr); });
    CHECK(needed >= n * 12);
    CHECK(!arena.measuring());
    if (needed > arena.capacity())
      CHECK(test::message_of([&] { work(n); }).find("more workspace than was measured") !=
            std::string::npos);
    arena.reserve(needed);
    CHECK(arena.capacity() >= needed);
    float* const first = work(n);
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
    CHECK(work(n) == first);  // frames have returned their memory
  }
}

TEST_CASE("arena, buffer: sizes that overflow are refused") {
  plait::arena arena;
  CHECK(test::message_of([&] {
          arena.measure([&] { arena.take<double>(INT64_MAX / 2); });
        }).find("than can be counted") != std::string::npos);
  CHECK(!arena.measuring());
  CHECK(test::message_of([] { plait::buffer<double>(INT64_MAX / 2); }).find("out of memory") == 0);
  CHECK(test::message_of([] { plait::buffer<double>(-1); }).find("out of memory") == 0);
}
