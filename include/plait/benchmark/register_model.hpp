// A whole model as a benchmark.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/fill_model.hpp>
#include <plait/benchmark/measure.hpp>
#include <plait/benchmark/model_steps.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/model/model.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

template <auto C, class Exec>
class model_work {
 public:
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

  model_work(model_options const& options) : options_(options) {
    if (options_.max_check_bytes <= 0) options_.max_check_bytes = machine_memory() / 4;
  }

  void go(call const& what, int threads) {
    if (ready_ && threads == asked_threads_ && what.tokens == call_.tokens &&
        what.context == call_.context && what.sequences == call_.sequences)
      return;
    ready_ = false;
    exec_ = make_exec<Exec>(threads);
    if (options_.max_bytes <= 0) options_.max_bytes = memory_of(*exec_) / 4;
    asked_threads_ = threads;
    call_ = what;
    wrong_ = {};
    active_ = 1;
    current_ = 0;
    prepare(0);
    check();
    if (wrong_.empty()) look();
    if (wrong_.empty() && options_.weights == bench::weights::cold) {
      double const read = explanation_of({.flops = 1, .bytes = 1}).cost().bytes;
      double const wanted = double(bytes_to_be_cold(*exec_)) / std::max(read, 1.0) + 1;
      active_ = static_cast<std::size_t>(
          std::min(wanted, double(std::max<std::int64_t>(1, options_.max_bytes / copy_bytes()))));
      if constexpr (on_device<Exec>)
        active_ =
            std::min(active_, Exec::max_graphs);  // each copy's decode step is kept on its own
      for (std::size_t i = 1; i < active_; ++i) prepare(i);
    }
    copies_.resize(std::max(active_, std::size_t{1}));
    ready_ = true;
  }
  std::string const& wrong() const { return wrong_; }
  Exec& exec() { return *exec_; }
  void rewind() {
    current_ = (current_ + 1) % active_;
    copies_[current_]->steps.rewind();
  }
  void run() { copies_[current_]->steps.run(*exec_); }
  /// Calls before the first that is timed. A device keeps a decode step when it comes for the
  /// second time, and of each copy for itself.
  void warm_up() {
    std::size_t const calls = on_device<Exec> && call_.tokens == 1 ? 3 * active_ : 1;
    for (std::size_t i = 0; i < calls; ++i) {
      rewind();
      run();
    }
  }

  explanation explanation_of(roofline const& on) const {
    return explain(config, Exec::types, call_, on, reached_);
  }

  /// The rows of an explanation with measured times: what an observer sees ends where it sees it.
  /// The best of a few calls for each row. A device is waited for at the end of each row: beside a
  /// row of a few microseconds that, and its launches, are seen.
  explanation by_layer(roofline const& on) {
    using clock = std::chrono::steady_clock;
    explanation e = explanation_of(on);
    for (int runs = 0; runs < 5; ++runs) {
      rewind();
      std::size_t row = 0;
      auto last = clock::now();
      auto const end_of_row = [&] {
        if constexpr (on_device<Exec>) exec_->runtime.synchronize();
        auto const now = clock::now();
        double const spent = std::chrono::duration<double>(now - last).count();
        if (row < e.rows.size())
          e.rows[row].measured = runs == 0 ? spent : std::min(e.rows[row].measured, spent);
        ++row;
        last = now;
      };
      copies_[current_]->steps.run(*exec_, [&](probe at, auto const&) {
        std::string_view const name = at.name;
        if (name == "mixer" || name == "ffn" || (name == "embed" && model_type::has_vocabulary))
          end_of_row();
      });
      if (model_type::has_vocabulary) end_of_row();
    }
    return e;
  }

  std::string label() const {
    std::string text = std::to_string(active_).append(active_ == 1 ? " copy, " : " copies, ");
    text.append(text_of_bytes(double(active_) * double(copy_bytes())));
    if (options_.weights == bench::weights::cold &&
        double(active_) * explanation_of({.flops = 1, .bytes = 1}).cost().bytes <
            double(bytes_to_be_cold(*exec_)))
      text.append(" (no room to be cold)");
    if constexpr (is_routed) {
      double sum = 0, layers = 0;
      for (double const n : reached_) {
        sum += n;
        layers += n > 0;
      }
      text.append("; ")
          .append(number(layers > 0 ? sum / layers : 0, "%.3g"))
          .append(" experts a layer reached");
    }
    if (off_ < 0) return text.append("; unchecked: the reference has no room");
    return text.append("; off by ").append(number(off_, "%.1e"));
  }

 private:
  struct copy {
    model_type weights;
    model_steps<model_type> steps;
    explicit copy(routing r) : steps(weights, r) { fill_routed(weights, r); }
  };

  std::int64_t copy_bytes() const {
    return weight_bytes(config, Exec::types) + recurrent_state_bytes(config, call_.sequences) +
           kv_cache_bytes(config, call_.context + call_.tokens + page_tokens,
                          value_bytes(Exec::types.kv), call_.sequences);
  }
  void prepare(std::size_t i) {
    if (copies_.size() <= i) copies_.resize(i + 1);
    if (!copies_[i]) copies_[i] = std::make_unique<copy>(options_.routing);
    copies_[i]->steps.prepare(*exec_, call_);
  }

  /// Two sequences together, two tokens on three cached ones, beside the reference with the same
  /// weights; once.
  void check() {
    if (!checked_) {
      checked_ = true;
      if (weight_bytes(config, f32) / 4 * std::int64_t{sizeof(double)} > options_.max_check_bytes) {
        off_ = -1;
      } else {
        call small{.tokens = 2, .context = 3, .sequences = 2, .routing = options_.routing};
        if (model_type::continues() == continuation::none) small.context = 0;
        exec::reference slow;
        model<C, exec::reference> expected;
        copy_weights(copies_[0]->weights, expected);
        model_steps<model<C, exec::reference>> should(expected, options_.routing);
        model_steps<model_type> is(copies_[0]->weights, options_.routing);
        should.prepare(slow, small);
        is.prepare(*exec_, small);
        should.rewind();
        is.rewind();
        should.run(slow);
        is.run(*exec_);
        bool const keeps = kv_cache_bytes(config, 1, 1) > 0;
        auto const& got = is.output();
        auto const& expects = should.output();
        difference const d = compare(got.read(), expects.read());
        against_reference_ = d.complaint(tolerance_of<Exec>(keeps, config.num_layers(), is_routed));
        off_ = d.relative();
      }
      // The workspace that the check reserved is less than the point's, which `prepare` reserved
      // before.
    }
    wrong_ = against_reference_;
    if (!wrong_.empty()) return;
    // The call that will be timed, and the same tokens in two calls: the same bits; on a device as
    // far as rounding goes.
    auto& steps = copies_[0]->steps;
    steps.rewind();
    steps.run(*exec_);
    if (call_.tokens < 2 || model_type::continues() != continuation::bitwise) return;
    using value = typename model_steps<model_type>::output_type;
    bench::matrix<value> once(call_.sequences, steps.columns);
    {
      auto const& got = steps.output();
      std::copy_n(got.read().data(), call_.sequences * steps.columns, once.view().data());
    }
    steps.run_split(*exec_);
    auto const& twice = steps.output();
    if constexpr (on_device<Exec>) {
      double const allowed =
          tolerance_of<Exec>(kv_cache_bytes(config, 1, 1) > 0, config.num_layers(), is_routed);
      if (std::string const why = compare(once.read(), twice.read()).complaint(allowed);
          !why.empty())
        wrong_ = "the result of " + std::to_string(call_.tokens) +
                 " tokens is not that of the same tokens in two calls: " + why;
    } else if (std::memcmp(once.read().data(), twice.read().data(),
                           std::size_t(call_.sequences * steps.columns) * sizeof(value)) != 0) {
      wrong_ = "the result of " + std::to_string(call_.tokens) +
               " tokens is not that of the same tokens in two calls, bit for bit";
    }
  }

  /// The experts each layer reaches in the timed call, and whether they are those wanted.
  void look() {
    reached_.assign(static_cast<std::size_t>(config.num_layers()), 0.0);
    if constexpr (is_routed) {
      for (int i = 0; i < config.num_layers(); ++i)
        visit_layer(config, i, [&](auto const&, auto const& ffn) {
          reached_[static_cast<std::size_t>(i)] =
              experts_reached(ffn, call_.routing, call_.tokens * call_.sequences);
        });
      copies_[0]->steps.rewind();
      copies_[0]->steps.run(*exec_, [&](probe at, auto const& m) {
        if constexpr (std::is_same_v<std::remove_const_t<std::remove_pointer_t<decltype(m.data())>>,
                                     std::int32_t>) {
          if (std::string_view(at.name) != "experts" || at.layer < 0) return;
          auto const experts = fetch<memory>(matrix_view<std::int32_t const>(m));
          std::vector<std::int64_t> tokens_of;
          for (std::int64_t t = 0; t < m.rows(); ++t)
            for (std::int64_t j = 0; j < m.cols(); ++j) {
              auto const e = static_cast<std::size_t>(experts.read()(t, j));
              if (tokens_of.size() <= e) tokens_of.resize(e + 1, 0);
              ++tokens_of[e];
            }
          reached_[static_cast<std::size_t>(at.layer)] = double(std::count_if(
              tokens_of.begin(), tokens_of.end(), [](std::int64_t n) { return n > 0; }));
          if (options_.routing == routing::random) return;
          auto const wanted =
              copies_[0]->steps.wanted(static_cast<std::size_t>(config.ffn_at(at.layer)));
          tokens_of.resize(std::max(tokens_of.size(), wanted.size()), 0);
          if (tokens_of != wanted)
            wrong_ = std::string("tokens do not go to experts as routing ")
                         .append(name_of(options_.routing))
                         .append(" wants them to, in layer ")
                         .append(std::to_string(at.layer));
        }
      });
    }
  }

  model_options options_;
  call call_{.tokens = 0};
  int asked_threads_ = 0;
  bool ready_ = false, checked_ = false;
  std::unique_ptr<Exec> exec_;
  std::vector<std::unique_ptr<copy>> copies_;
  std::size_t active_ = 1, current_ = 0;
  std::vector<double> reached_;
  double off_ = 0;
  std::string wrong_, against_reference_;
};

}  // namespace detail

/// Registers the model of an architecture with Google Benchmark, a benchmark for each combination
/// of tokens, context, sequences and threads: one call gives each of `sequences` sequences, with
/// `context` tokens each, so many tokens more, and computes the logits of its last.
///
///   using cpu = plait::exec::cpu<>;
///   plait::bench::register_model<config, cpu>("prefill", {.tokens = {512}});
///   plait::bench::register_model<config, cpu>("decode", {.tokens = {1}, .context = {0, 2048}});
///
/// Contexts are filled by forward itself, and kept while they only grow: give them in rising order.
/// Before anything is timed a few tokens are compared with exec::reference on the same weights as
/// they are kept, and the call that is timed with the same tokens in two calls, bit for bit on the
/// CPU, within the same bound on a device. A disagreement is an error of the benchmark. What is
/// counted and printed: benchmark/measure.hpp, and parameters, active_parameters, state_bytes and
/// kv_bytes of the sequences. plait::error where an option is out of range. Memory:
/// options.max_bytes at most for copies, unless one needs more; while it is checked the model in
/// double, if options.max_check_bytes allow.
///
/// Which experts the timed call reaches is observed in every layer, and has to be what was asked.
/// On a device a decode step is timed as it is kept: of cold weights there are at most as many
/// copies as steps are kept, 64. `by_layer` waits for the device at the end of each row, and times
/// no kept step: beside rows of a few microseconds it shows launches.
/// Shapes: a call gives each of the sequences its new tokens and computes the logits of its last;
///   without a vocabulary, its hidden states. Names as those of a layer, with `sequences:S` where
///   they are not one
/// Errors:
///   - `needs a channel an expert,`: routing that is made takes a channel for each expert of each
///     feed-forward policy
///   - `is not that of the same tokens in two calls, bit for bit`: of the benchmark, as are the
///     next two
///   - `is not that of the same tokens in two calls:`: the same on a device, within the tolerance
///   - `tokens do not go to experts as routing`
/// Cost: contexts are filled by forward, and kept while they only grow: in rising order each token
///   is computed once. While it is checked the model in double; beyond `max_check_bytes` it is
///   timed unchecked, and its label says so
/// Test: tests/unit/benchmark/register_test.cpp, tests/checks/compile_fail/benchmark.cpp
template <auto Config, class Exec = exec::cpu<>>
registered register_model(std::string const& name, model_options const& options = {}) {
  registered all;
  if constexpr (sizeof(detail::measurable<Exec>) > 0 && detail::has_types<Exec> &&
                detail::is_made_for_threads<Exec>) {
    using work = detail::model_work<Config, Exec>;
    static constexpr auto config = Config;
    detail::check_range(name, "tokens", options.tokens, 1, max_call_tokens);
    detail::check_range(name, "context", options.context, 0, std::int64_t{1} << 32);
    detail::check_range(name, "sequences", options.sequences, 1, max_call_tokens);
    if (std::int64_t const held = detail::router_channels(config).back();
        options.routing != routing::random && held > config.d_model)
      throw error("register " + name + ": routing " + name_of(options.routing) +
                  " needs a channel an expert, " + std::to_string(held) + " of d_model " +
                  std::to_string(config.d_model));
    std::vector<std::int64_t> contexts = options.context;
    if (work::model_type::continues() == continuation::none) contexts = {0};
    std::string const key = detail::type_key<work>() + name_of(options.weights) +
                            name_of(options.routing) + std::to_string(options.max_bytes) + " " +
                            std::to_string(options.max_check_bytes);
    for (int const threads : detail::threads_of<Exec>(name, options.threads))
      for (std::int64_t const sequences : options.sequences)
        for (std::int64_t const context : contexts)
          for (std::int64_t const tokens : options.tokens) {
            detail::point_name full(name, Exec::types);
            full.add("tokens", tokens).add("context", context);
            if (options.sequences != std::vector<std::int64_t>{1}) full.add("sequences", sequences);
            if (!on_device<Exec>) full.add("threads", threads);
            full.add("weights", name_of(options.weights));
            if (work::is_routed) full.add("routing", name_of(options.routing));
            bench::call const what{.tokens = tokens,
                                   .context = context,
                                   .sequences = sequences,
                                   .routing = options.routing};
            std::string const title = full.text();
            auto const run = [=](::benchmark::State& state) {
              try {
                work& w = detail::keep<work>(key, [&] { return std::make_shared<work>(options); });
                w.go(what, threads);
                if (!w.wrong().empty()) return state.SkipWithError(w.wrong().c_str());
                roofline const& on = detail::roofline_of_run(w.exec());
                explanation const least = w.explanation_of(on);
                w.warm_up();
                detail::measure(
                    state, w.exec(), tokens * sequences, least.cost(), least.seconds(), on,
                    [&] { w.rewind(); }, [&] { w.run(); });
                counts const n = count(config);
                state.counters["parameters"] = double(n.total_parameters);
                state.counters["active_parameters"] = double(n.active_parameters);
                state.counters["state_bytes"] = double(recurrent_state_bytes(config, sequences));
                state.counters["kv_bytes"] = double(kv_cache_bytes(
                    config, context + tokens, value_bytes(Exec::types.kv), sequences));
                state.SetLabel(w.label());
                if (options.by_layer) detail::keep_table(title, w.by_layer(on));
              } catch (std::exception const& e) {
                state.SkipWithError(e.what());
              }
            };
            all.push_back(::benchmark::RegisterBenchmark(full.text().c_str(), run)
                              ->UseManualTime()
                              ->Unit(::benchmark::kMicrosecond));
          }
  }
  return all;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
