// Benchmarks of whole models.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/experts.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/fill_model.hpp>
#include <plait/benchmark/model_steps.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/sweep.hpp>
#include <plait/benchmark/text.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/core/sentence.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/model/model.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

/// A model as a subject (benchmark/subject.hpp).
template <auto C, class Exec>
class model_subject {
 public:
  using exec_type = Exec;
  using model_type = model<C, Exec>;
  using memory = typename Exec::memory;
  static constexpr auto config = C;
  static constexpr bool is_routed = [] {
    bool any = false;
    for (int i = 0; i < C.num_layers(); ++i)
      visit_layer(C, i, [&](auto const&, auto const& ffn) {
        any = any || policies::experts_chosen(ffn) > 0;
      });
    return any;
  }();
  static constexpr parameters depends{.context = true, .sequences = true, .routing = is_routed};
  /// A device captures the decode step of each copy as a graph of its own.
  static constexpr std::size_t max_copies = [] {
    if constexpr (on_device<Exec>)
      return std::size_t{Exec::max_graphs};
    else
      return std::size_t(-1);
  }();

  /// The weights, and sequences that use them.
  struct copy {
    model_type weights;
    model_steps<model_type> steps;
    explicit copy(routing r) : steps(weights, r) { fill_routed(weights, r); }
  };

  model_subject(bench::routing r, std::int64_t max_check_bytes)
      : routing_(r),
        max_check_bytes_(max_check_bytes > 0 ? max_check_bytes : machine_memory() / 4) {}

  friend bool operator==(model_subject const& a, model_subject const& b) {
    return a.routing_ == b.routing_ && a.max_check_bytes_ == b.max_check_bytes_;
  }

  void begin(Exec&, call const& at) { call_ = at; }

  void prepare(Exec& exec, std::unique_ptr<copy>& one) {
    if (!one) one = std::make_unique<copy>(routing_);
    one->steps.prepare(exec, call_);
  }

  /// Compares a few tokens with the reference and the timed call with the same tokens in two calls,
  /// and counts the experts of the timed call.
  verdict check(Exec& exec, copy& c) {
    if (!is_compared_) comparison_ = against_reference(exec, c);
    is_compared_ = true;
    verdict v = comparison_;
    if (v.error.empty()) v.error = against_two_calls(exec, c);
    if (v.error.empty()) v.error = count_experts(exec, c);
    return v;
  }

  void rewind(copy& c) { c.steps.rewind(); }
  void run(Exec& exec, copy& c) { c.steps.run(exec); }
  /// A device captures the second decode step of each copy.
  int calls_per_copy() const { return on_device<Exec> && call_.tokens == 1 ? 3 : 0; }

  call_cost cost() const { return explanation_of({.flops = 1, .bytes = 1}).cost(); }
  double least_seconds(roofline const& on) const { return explanation_of(on).seconds(); }
  std::int64_t copy_bytes() const {
    return weight_bytes(config, Exec::types) + recurrent_state_bytes(config, call_.sequences) +
           kv_bytes(call_.context + call_.tokens + page_tokens);
  }

  std::string note() const {
    if constexpr (!is_routed) return {};
    double sum = 0, layers = 0;
    for (double const n : reached_) {
      sum += n;
      layers += n > 0;
    }
    return "; " + number(layers > 0 ? sum / layers : 0, "%.3g") + " experts reached per layer";
  }

  /// parameters, active_parameters; of the sequences after the call, state_bytes and kv_bytes.
  template <class Counters>
  void add_counters(Counters& out) const {
    counts const n = count(config);
    out["parameters"] = double(n.total_parameters);
    out["active_parameters"] = double(n.active_parameters);
    out["state_bytes"] = double(recurrent_state_bytes(config, call_.sequences));
    out["kv_bytes"] = double(kv_bytes(call_.context + call_.tokens));
  }

  /// The rows of an explanation with measured times, the least of five calls for each row. A row
  /// ends where the observer is given its result. On a device it ends when the device is idle, so
  /// that a row of a few microseconds shows its launches and this wait.
  template <class Next>
  explanation table(Exec& exec, roofline const& on, Next const& next) {
    using clock = std::chrono::steady_clock;
    explanation e = explanation_of(on);
    for (int runs = 0; runs < 5; ++runs) {
      copy& c = next();
      std::size_t row = 0;
      auto last = clock::now();
      auto const end_of_row = [&] {
        if constexpr (on_device<Exec>) exec.runtime.synchronize();
        auto const now = clock::now();
        double const spent = std::chrono::duration<double>(now - last).count();
        if (row < e.rows.size())
          e.rows[row].measured = runs == 0 ? spent : std::min(e.rows[row].measured, spent);
        ++row;
        last = now;
      };
      c.steps.run(exec, [&](probe at, auto const&) {
        std::string_view const name = at.name;
        if (name == "mixer" || name == "ffn" || (name == "embed" && model_type::has_vocabulary))
          end_of_row();
      });
      if (model_type::has_vocabulary) end_of_row();
    }
    return e;
  }

 private:
  explanation explanation_of(roofline const& on) const {
    return explain(config, Exec::types, call_, on, reached_);
  }
  std::int64_t kv_bytes(std::int64_t tokens) const {
    return kv_cache_bytes(config, tokens, value_bytes(Exec::types.kv), call_.sequences);
  }
  static double allowed() {
    return tolerance_of<Exec>(kv_cache_bytes(config, 1, 1) > 0, config.num_layers(), is_routed);
  }

  /// Compares two sequences together, of two tokens on three cached ones, with the reference, which
  /// has the same weights as they are stored.
  verdict against_reference(Exec& exec, copy& c) {
    if (weight_bytes(config, f32) / 4 * std::int64_t{sizeof(double)} > max_check_bytes_) return {};
    call small{.tokens = 2, .context = 3, .sequences = 2, .routing = routing_};
    if (model_type::continues() == continuation::none) small.context = 0;
    exec::reference slow;
    model<C, exec::reference> expected;
    copy_weights(c.weights, expected);
    model_steps<model<C, exec::reference>> should(expected, routing_);
    model_steps<model_type> is(c.weights, routing_);
    should.prepare(slow, small);
    is.prepare(exec, small);  // its workspace is smaller than that of the point, reserved before
    should.rewind();
    is.rewind();
    should.run(slow);
    is.run(exec);
    auto const& got = is.output();
    auto const& expects = should.output();
    difference const d = compare(got.read(), expects.read());
    return {d.complaint(allowed()), d.relative()};
  }

  /// Compares the timed call with the same tokens in two calls: bit for bit; on a device within the
  /// bound.
  std::string against_two_calls(Exec& exec, copy& c) {
    auto& steps = c.steps;
    steps.rewind();
    steps.run(exec);
    if (call_.tokens < 2 || model_type::continues() != continuation::bitwise) return {};
    bench::matrix<typename model_steps<model_type>::output_type> once(call_.sequences,
                                                                      steps.columns);
    {
      auto const& got = steps.output();
      std::copy_n(got.read().data(), call_.sequences * steps.columns, once.view().data());
    }
    steps.run_split(exec);
    auto const& twice = steps.output();
    std::string const differs = sentence(
        "the result of {} tokens is not that of the same tokens in two calls", call_.tokens);
    if constexpr (on_device<Exec>) {
      std::string const why = compare(once.read(), twice.read()).complaint(allowed());
      return why.empty() ? why : differs + ": " + why;
    } else {
      return differing_row(once.read(), twice.read()) < 0 ? "" : differs + ", bit for bit";
    }
  }

  /// Counts the experts that each layer reaches in the timed call, and compares them with the
  /// assigned ones.
  std::string count_experts(Exec& exec, copy& c) {
    reached_.assign(static_cast<std::size_t>(config.num_layers()), 0.0);
    std::string error;
    if constexpr (is_routed) {
      for (int i = 0; i < config.num_layers(); ++i)
        visit_layer(config, i, [&](auto const&, auto const& ffn) {
          reached_[static_cast<std::size_t>(i)] =
              experts_reached(ffn, call_.routing, call_.tokens * call_.sequences);
        });
      c.steps.rewind();
      c.steps.run(exec, [&](probe at, auto const& view) {
        if (at.layer < 0) return;
        auto const assigned =
            c.steps.assigned_tokens(static_cast<std::size_t>(config.ffn_at(at.layer)));
        visit_experts<memory>(
            at.name, view, std::int64_t(assigned.size()),
            [&](std::vector<std::int64_t> const& tokens) {
              reached_[static_cast<std::size_t>(at.layer)] = reached_experts(tokens);
              if (routing_ != routing::random && tokens != assigned)
                error = sentence("{}, in layer {}", misrouted(routing_), at.layer);
            });
      });
    }
    return error;
  }

  bench::routing routing_;
  std::int64_t max_check_bytes_;
  call call_{.tokens = 0};
  bool is_compared_ = false;
  verdict comparison_;
  std::vector<double> reached_;
};

}  // namespace detail

/// Registers the model of an architecture with Google Benchmark, a benchmark per combination of
/// tokens, context, sequences and threads.
///
///   using cpu = plait::exec::cpu<>;
///   plait::bench::register_model<config, cpu>("prefill", {.tokens = {512}});
///   plait::bench::register_model<config, cpu>("decode", {.tokens = {1}, .context = {0, 2048}});
///
/// A point is checked before it is timed. A few tokens are compared with exec::reference with the
/// same weights as they are stored, and the timed call with the same tokens in two calls: bit for
/// bit on the CPU, within the same bound on a device. The experts that the timed call reaches are
/// counted in every layer, and must be those that the routing assigns. A benchmark that fails is an
/// error and has no time.
///
/// A device's decode step is timed as a captured graph, so that cold weights have at most as many
/// copies as the execution policy has graphs, 64. `by_layer` waits for the device at the end of
/// each row, and times no captured graph: rows of a few microseconds show launches.
///
/// Counters and label: `registered`.
/// Shapes: a call gives each of the sequences its new tokens and computes the logits of its last
///   one; without a vocabulary, its hidden states. Benchmarks are named as those of register_layer,
///   with `sequences:S` where they are not one
/// Errors: those of `sweep` (benchmark/sweep.hpp) and benchmark/experts.hpp; of the benchmark,
///   those of `difference` (benchmark/check.hpp) and
///   - `the result of … tokens is not that of the same tokens in two calls`
/// Cost: `options.max_bytes` of copies, or one copy where it needs more. Contexts are filled by
///   forward and continued while they grow: in rising order each token is computed once. While it
///   is checked, the model in double; beyond `max_check_bytes` it is timed unchecked, and its label
///   says so
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp,
///   tests/checks/compile_fail/benchmark.cpp
template <auto Config, class Exec = exec::cpu<>>
registered register_model(std::string const& name, model_options const& options = {}) {
  if constexpr (sizeof(detail::measurable<Exec>) > 0 && detail::is_measurable<Exec>) {
    using subject_type = detail::model_subject<Config, Exec>;
    static constexpr auto config = Config;
    std::int64_t const experts = detail::router_channels(config).back();
    detail::check_channels(name, options.routing, experts, config.d_model,
                           sentence("{} of d_model {}", experts, config.d_model));
    sweep by = detail::sweep_of(options);
    if (subject_type::model_type::continues() == continuation::none) by.context = {0};
    return register_subject(name, subject_type(options.routing, options.max_check_bytes), by);
  }
  return {};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
