// What register_layer and register_model share: work that is kept between calls, the roofline of the run, timing, counters.
#pragma once

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/probe.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/error.hpp>
#include <plait/policy/precision.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::bench {

namespace detail {

/// Google Benchmark calls a function several times until it has run long enough, and building and checking a model each time would take
/// longer than timing it. One piece of work is kept, the last, so that no more memory is used than that needs.
struct kept_work {
  std::string key;
  std::shared_ptr<void> work;
};
inline kept_work& kept() {
  static kept_work one;
  return one;
}
template <class Work, class Make>
Work& keep(std::string const& key, Make const& make) {
  if (kept().key != key || !kept().work) {
    kept().work.reset();  // before the next is made
    kept().work = make();
    kept().key = key;
  }
  return *static_cast<Work*>(kept().work.get());
}

template <class Exec>
constexpr bool has_types = requires {
  { Exec::types } -> std::convertible_to<precision>;
};
template <class Exec>
constexpr bool is_made_for_threads = std::is_constructible_v<Exec, int> || std::is_default_constructible_v<Exec>;

/// What every registration asks of its execution policy.
template <class Exec>
struct measurable {
  static_assert(has_types<Exec>,
                "plait: a benchmark counts bytes by its execution policy's precision: static constexpr plait::precision types");
  static_assert(is_made_for_threads<Exec>, "plait: a benchmark makes its execution policy from a number of threads, or from nothing");
};

template <class Exec>
std::unique_ptr<Exec> make_exec(int threads) {
  if constexpr (std::is_constructible_v<Exec, int>) return std::make_unique<Exec>(threads);
  else return std::make_unique<Exec>();
}

/// Measured once a process for each number of threads and type of products, when it is first needed.
template <class Exec>
roofline const& roofline_of_run(Exec& exec, dtype products) {
  static std::map<std::pair<int, dtype>, roofline> known;
  auto const [at, is_new] = known.try_emplace({exec.threads(), products});
  if (is_new) at->second = probe_roofline(exec, products);
  return at->second;
}

/// Tables that run prints when everything has been measured, by the name of their benchmark: repetitions replace each other.
inline std::vector<std::pair<std::string, explanation>>& tables() {
  static std::vector<std::pair<std::string, explanation>> all;
  return all;
}

inline void keep_table(std::string const& name, explanation table) {
  for (auto& [known, kept_table] : tables())
    if (known == name) {
      kept_table = std::move(table);
      return;
    }
  tables().emplace_back(name, std::move(table));
}

inline std::string text_of_bytes(double bytes) {
  return bytes < 1e6 ? number(bytes / 1e3, "%.1f kB") : bytes < 1e9 ? number(bytes / 1e6, "%.1f MB") : number(bytes / 1e9, "%.2f GB");
}

/// "name/f32/tokens:16/...", the way Google Benchmark writes arguments.
class point_name {
 public:
  point_name(std::string const& name, precision const& types) { text_.append(name).append("/").append(name_of(types)); }
  point_name& add(char const* what, std::int64_t value) { return add(what, std::to_string(value)); }
  point_name& add(char const* what, std::string const& value) {
    text_.append("/").append(what).append(":").append(value);
    return *this;
  }
  std::string const& text() const { return text_; }

 private:
  std::string text_;
};

/// Refuses what no call can be.
inline void check_range(std::string const& name, char const* what, std::vector<std::int64_t> const& values, std::int64_t least,
                        std::int64_t most) {
  if (values.empty()) throw error("register " + name + ": " + what + " is an empty list, so that there is nothing to measure");
  for (std::int64_t const v : values)
    if (v < least || v > most)
      throw error("register " + name + ": " + what + " is between " + std::to_string(least) + " and " + std::to_string(most) + ", not " +
                  std::to_string(v));
}
template <class Exec>
std::vector<int> threads_of(std::string const& name, std::vector<int> const& asked) {
  for (int const n : asked)
    if (n < 1 || n > 4096) throw error("register " + name + ": threads is between 1 and 4096, not " + std::to_string(n));
  if constexpr (std::is_default_constructible_v<Exec>) return asked.empty() ? std::vector<int>{Exec().threads()} : asked;
  else return asked.empty() ? std::vector<int>{1} : asked;
}

/// Times call(), behind a rewind() each time that is not timed, and sets what is reported.
///   tokens/s, GFLOP/s, GB/s     rates of what was counted, over the time of the calls
///   predicted_us, roofline_%    the least time on the roofline, and its share of the measured
///   peak_GFLOP/s, peak_GB/s     the roofline, measured in this run
template <class Rewind, class Call>
void measure(::benchmark::State& state, std::int64_t tokens, call_cost const& cost, double least, roofline const& on, Rewind const& rewind,
             Call const& call) {
  using clock = std::chrono::steady_clock;
  double seconds = 0, calls = 0;
  for (auto _ : state) {
    rewind();
    auto const start = clock::now();
    call();
    double const spent = std::chrono::duration<double>(clock::now() - start).count();
    state.SetIterationTime(spent);
    seconds += spent, calls += 1;
  }
  if (!(seconds > 0)) return;
  double const each = seconds / calls;
  auto& out = state.counters;
  out["tokens/s"] = double(tokens) / each;
  out["GFLOP/s"] = cost.flops / each / 1e9;
  out["GB/s"] = cost.bytes / each / 1e9;
  out["predicted_us"] = least * 1e6;
  out["roofline_%"] = 100 * least / each;
  out["peak_GFLOP/s"] = on.flops / 1e9;
  out["peak_GB/s"] = on.bytes / 1e9;
}

}  // namespace detail

/// What is registered, for what Google Benchmark has to say further: for (auto* b : registered) b->MinTime(2)->Repetitions(5);
using registered = std::vector<::benchmark::internal::Benchmark*>;

}  // namespace plait::inline PLAIT_ABI::bench
