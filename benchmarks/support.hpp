// What the benchmarks of ops need beside plait/benchmark.hpp: cases, their check against the
// reference, counters.
//
// A case is a struct with a member template `on<Exec>`, constructed with (exec, tokens, context):
// it owns inputs and outputs, and
//   run()                   does the work once more, from the same starting point
//   output()                [tokens, columns]; row t depends only on inputs up to row t
//   flops(), bytes()        of one run
// The same source runs on exec::cpu and on exec::reference, and the first rows of its inputs are
// the same whatever `tokens`.
#pragma once

#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

using plait::bench::fill;
using plait::bench::matrix;

inline plait::exec::cpu<> make_cpu() {
  return selected().threads.empty() ? plait::exec::cpu<>()
                                    : plait::exec::cpu<>(selected().threads.front());
}

// ---- Weights
// -------------------------------------------------------------------------------------------------------------------------------

/// What `make` makes, once for the CPU; for the reference only as long as somebody holds it.
template <class Exec, class Make>
auto shared(Make const& make) {
  using object = decltype(make());
  if constexpr (std::is_same_v<Exec, plait::exec::reference>) {
    return std::make_shared<object>(make());
  } else {
    static auto const kept = std::make_shared<object>(make());
    return kept;
  }
}

/// Weights of a policy at the benchmarks' width.
template <auto Policy, class Exec>
auto shared_weights() {
  return shared<Exec>([] {
    plait::weights<Policy, d_model, typename Exec::storage_type> w;
    w.allocate();
    w.for_each([](plait::tensor const& t, auto& data) {
      fill(t, data, plait::detail::mix(1, std::string_view(t.name)));
    });
    return w;
  });
}

/// One sequence as the ops see it: state and pages of its own, `context` tokens already there.
template <class T>
class one_sequence {
 public:
  one_sequence(std::int64_t tokens, std::int64_t context, std::int64_t state_values,
               std::int64_t page_values)
      : first_row_{0, tokens},
        length_(context),
        state_(1, std::max<std::int64_t>(1, state_values)),
        pages_((context + tokens + plait::page_tokens - 1) / plait::page_tokens,
               std::max<std::int64_t>(1, page_values), 77) {
    for (std::int64_t p = 0; p < pages_.view().rows(); ++p)
      table_.push_back(reinterpret_cast<std::byte*>(pages_.view().row(p)));
    state_pointer_ = state_.view().data();
    table_pointer_ = table_.data();
  }
  one_sequence(one_sequence const&) = delete;
  plait::sequences<T> view() const {
    return {.count = 1,
            .first_row = first_row_,
            .length = &length_,
            .state = &state_pointer_,
            .pages = &table_pointer_};
  }

 private:
  std::int64_t first_row_[2], length_;
  matrix<T> state_, pages_;
  T* state_pointer_;
  std::vector<std::byte*> table_;
  std::byte* const* table_pointer_;
};

// ---- The check
// -------------------------------------------------------------------------------------------------------------------------

/// Rows that the reference, slow as it is, computes too.
inline constexpr std::int64_t checked_rows = 3;

/// Compares the first rows with the reference, once for each context: a sentence, or nothing if
/// they agree. An f32 sum of a few
/// thousand products is off by about 1e-6 of the largest outputs; a wrong kernel by more than 1e-4.
template <class Case>
std::string const& disagreement(std::int64_t context) {
  static std::map<std::int64_t, std::string> known;
  auto const [at, is_new] = known.try_emplace(context);
  if (!is_new) return at->second;
  auto cpu = make_cpu();
  plait::exec::reference reference;
  typename Case::template on<plait::exec::cpu<>> fast(cpu, checked_rows, context);
  typename Case::template on<plait::exec::reference> slow(reference, checked_rows, context);
  fast.run();
  slow.run();
  at->second = plait::bench::compare(fast.output(), slow.output())
                   .complaint(plait::bench::tolerance(plait::f32, false));
  return at->second;
}

/// Whether the first rows are bitwise those of a call with few tokens.
template <class Case, class Fast>
bool first_rows_are_the_same(Fast& many, std::int64_t tokens, std::int64_t context) {
  auto cpu = make_cpu();
  std::int64_t const rows = std::min(tokens, checked_rows);
  Fast few(cpu, rows, context);
  few.run();
  many.run();
  for (std::int64_t r = 0; r < std::min(rows, few.output().rows()); ++r)
    if (std::memcmp(few.output().row(r), many.output().row(r),
                    static_cast<std::size_t>(few.output().cols()) * sizeof(float)) != 0)
      return false;
  return true;
}

// ---- Running a case
// --------------------------------------------------------------------------------------------------------------------

/// Tokens, operations and bytes a second. The latter two are counted, not measured: see README.md.
inline void count(benchmark::State& state, std::int64_t tokens, double flops, double bytes) {
  using benchmark::Counter;
  state.counters["tokens"] = Counter(double(tokens), Counter::kIsIterationInvariantRate);
  state.counters["FLOP"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

/// What `make` makes, kept until other arguments come: Google Benchmark calls a benchmark several
/// times until it runs long enough, and building and checking a case each time would take longer
/// than timing it.
template <class Work>
class kept_for {
 public:
  template <class Make>
  Work& operator()(std::vector<std::int64_t> arguments, Make const& make) {
    if (!work_ || arguments != arguments_) {
      work_.reset();
      work_ = make();
      arguments_ = std::move(arguments);
    }
    return *work_;
  }

 private:
  std::vector<std::int64_t> arguments_;
  std::unique_ptr<Work> work_;
};

template <class Case>
void measure(benchmark::State& state) {
  struct session {
    plait::exec::cpu<> exec = make_cpu();
    typename Case::template on<plait::exec::cpu<>> work;
    std::string wrong;
    session(std::int64_t tokens, std::int64_t context)
        : work(exec, tokens, context), wrong(disagreement<Case>(context)) {
      if (wrong.empty() && !first_rows_are_the_same<Case>(work, tokens, context))
        wrong = "the first rows are not those of a call with few tokens, bit for bit";
    }
  };
  static kept_for<session> kept;
  std::int64_t const tokens = state.range(0), context = state.range(1);
  session& s = kept({tokens, context}, [&] { return std::make_unique<session>(tokens, context); });
  if (!s.wrong.empty()) return state.SkipWithError(s.wrong.c_str());
  s.work.run();
  for (auto _ : state) s.work.run();
  count(state, tokens, s.work.flops(), s.work.bytes());
}

/// 1 to `most` tokens on an empty sequence, in powers of two.
template <class Case>
auto* tokens(char const* name, std::int64_t most = 2048) {
  auto* const b = benchmark::RegisterBenchmark(name, measure<Case>);
  for (std::int64_t n = 1; n <= most; n *= 2) b->Args({n, 0});
  return b->ArgNames({"tokens", "context"})->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace bench
