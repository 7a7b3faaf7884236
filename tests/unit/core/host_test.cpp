#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

TEST_CASE("parallel: every item runs once, for any number of threads and any grain") {
  for (int threads : {1, 2, 3, 5}) {
    plait::exec::cpu<> exec(threads);
    for (std::int64_t items : {0, 1, 3, 17, 129})
      for (std::int64_t grain : {1, 2, 7, 200}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(items));
        std::atomic<bool> outside{false};
        exec.parallel(items, grain, [&](std::int64_t item, int thread) {
          if (thread < 0 || thread >= exec.threads()) outside = true;
          ++seen[static_cast<std::size_t>(item)];
        });
        CHECK(!outside);
        for (auto const& n : seen) CHECK(n == 1);
      }
  }
}

TEST_CASE("parallel: no item runs during a measurement") {
  plait::exec::reference exec;
  CHECK(exec.threads() == 1);
  int runs = 0;
  CHECK(exec.workspace.measure([&] { exec.parallel(9, [&](std::int64_t, int) { ++runs; }); }) == 0);
  CHECK(runs == 0);
  exec.parallel(9, [&](std::int64_t, int) { ++runs; });
  CHECK(runs == 9);
}

TEST_CASE("grain: at least one item, about eight runs per thread") {
  plait::exec::cpu<> exec(1);
  CHECK(exec.grain(0) == 1);
  CHECK(exec.grain(7) == 1);
  CHECK(exec.grain(800) == 100);
}
