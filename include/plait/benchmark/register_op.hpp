// Benchmarks of single ops.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/sweep.hpp>
#include <plait/core/memory.hpp>
#include <plait/core/view.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// An op with the operands that it owns. A run continues from the operands as the run before has
/// left them.
/// Shapes: run(exec, y) computes y [tokens, cols]
/// Test: tests/unit/benchmark/register_test.cpp
template <class T, class Run>
struct op {
  matrix<T> y;
  call_cost cost;  ///< of one run
  Run run;
  op(matrix<T> result, call_cost const& of_a_run, Run computes)
      : y(std::move(result)), cost(of_a_run), run(std::move(computes)) {}
};

/// The operand of ops on sequences: one sequence with zero state and `context` cached tokens in
/// pages of random keys and values.
/// Shapes: state [state_values]; a page has page_values, of core/sequences.hpp's page_tokens tokens
/// Test: tests/unit/benchmark/register_test.cpp
template <class T>
class op_sequence {
 public:
  op_sequence(std::int64_t tokens, std::int64_t context, std::int64_t state_values,
              std::int64_t page_values)
      : first_row_{0, tokens},
        length_(context),
        state_(1, std::max<std::int64_t>(1, state_values)),
        pages_((context + tokens + page_tokens - 1) / page_tokens,
               std::max<std::int64_t>(1, page_values), 77),
        state_pointer_(state_.view().data()) {
    for (std::int64_t p = 0; p < pages_.view().rows(); ++p)
      table_.push_back(reinterpret_cast<std::byte*>(pages_.view().row(p)));
    table_pointer_ = table_.data();
  }
  op_sequence(op_sequence const&) = delete;
  sequences<T> view() const {
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
  std::byte* const* table_pointer_ = nullptr;
};

namespace detail {

/// An op as a subject (benchmark/subject.hpp).
template <class Make, class Exec>
class op_subject {
 public:
  using exec_type = Exec;
  using copy =
      decltype(std::declval<Make const&>()(std::declval<Exec&>(), std::int64_t{}, std::int64_t{}));
  static constexpr parameters depends{.context = true};
  static constexpr std::int64_t max_checked_rows = 3;

  explicit op_subject(Make const& make) : make_(make) {}

  void begin(Exec&, call const& at) { call_ = at; }
  void prepare(Exec& exec, std::unique_ptr<copy>& one) {
    one.reset();
    one = made(exec, call_.tokens);
    cost_ = one->cost;
  }
  /// Compares a call with few rows with the reference, once per context, and the first rows of the
  /// timed call with it.
  verdict check(Exec& exec, copy& c) {
    std::int64_t const rows = std::min(call_.tokens, max_checked_rows);
    auto const few = made(exec, rows);
    run(exec, *few);
    auto const [at, is_new] = checked_.try_emplace({rows, call_.context});
    if (is_new) {
      exec::reference slow;
      auto const expected = made(slow, rows);
      expected->run(slow, expected->y.view());
      difference const d = compare(few->y.read(), expected->y.read());
      at->second = {d.complaint(tolerance_of<Exec>(false, 1, false)), d.relative()};
    }
    verdict v = at->second;
    run(exec, c);
    if (v.error.empty()) v.error = disagreement<Exec>(c.y.read(), few->y.read(), call_.tokens, 0);
    return v;
  }
  void run(Exec& exec, copy& c) { c.run(exec, c.y.view()); }
  call_cost cost() const { return cost_; }

 private:
  /// The op at a number of tokens, with workspace for it.
  template <class E>
  auto made(E& exec, std::int64_t tokens) const {
    using type = decltype(make_(exec, tokens, call_.context));
    auto one = std::make_unique<type>(make_(exec, tokens, call_.context));
    exec.workspace.reserve(exec.workspace.measure([&] { one->run(exec, one->y.view()); }));
    return one;
  }

  Make make_;
  call call_{.tokens = 0};
  call_cost cost_;
  std::map<std::pair<std::int64_t, std::int64_t>, verdict> checked_;  ///< by rows and context
};

}  // namespace detail

/// Registers an op on the CPU with Google Benchmark, a benchmark per combination of tokens, context
/// and threads.
///
///   auto const norm = []<class Exec>(Exec&, std::int64_t tokens, std::int64_t) {
///     using T = typename Exec::value_type;
///     return plait::bench::op(matrix<T>(tokens, width), {flops, bytes},
///                             [x = matrix<T>(tokens, width, 1)](Exec& exec, auto y) { ... });
///   };
///   plait::bench::register_op("norm", norm, {.tokens = {1, 512}});
///
/// make(exec, tokens, context) returns the op with its operands, for exec Exec and
/// exec::reference. The first rows of operands and result must not depend on `tokens`. Before the
/// op is timed, the first three rows are compared with the reference's, and bit for bit with those
/// of a call with three tokens. Operands that copies share are warm: sweep::weights should say so.
/// Shapes: benchmarks are named as those of register_subject
/// Errors: those of register_subject; of the benchmark, those of benchmark/check.hpp
/// Cost: three operands' worth of memory while it is checked
/// Test: tests/unit/benchmark/register_test.cpp
template <class Exec = exec::cpu<>, class Make>
registered register_op(std::string const& name, Make const& make, sweep const& by) {
  return register_subject(name, detail::op_subject<Make, Exec>(make), by);
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
