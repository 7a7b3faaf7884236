// A layer as a benchmark.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/measure.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/layers/layer.hpp>
#include <plait/model/single_layer.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

template <class Layer>
constexpr bool says_what_it_is = requires {
  { Layer::d_model } -> std::convertible_to<std::int64_t>;
  Layer::policy;
};
/// layer<D, policy> of what a layer type says of itself; a single_layer says the same.
template <class Layer>
constexpr bool is_bound() {
  if constexpr (requires { typename Layer::exec_type; })
    return true;
  else
    return std::is_same_v<layer<int(Layer::d_model), Layer::policy>, Layer>;
}
template <class Layer>
struct exec_of {
  using type = exec::cpu<>;
};
template <class Layer>
requires requires { typename Layer::exec_type; }
struct exec_of<Layer> {
  using type = typename Layer::exec_type;
};

/// Whether a policy routes: then tokens can be made to go where they are wanted.
template <class Policy>
constexpr bool routes(Policy const& p, int d_model) {
  bool router = false;
  describe(p, d_model, [&](tensor const& t) { router = router || t.role == role::router; });
  return router && policies::experts_chosen(p) > 0;
}

/// Rows that the reference, slow as it is, computes too, and the longest context it computes them
/// on.
inline constexpr std::int64_t checked_rows = 3, checked_context = 130;

/// Tokens of a call that fills a context.
inline constexpr std::int64_t context_chunk = 512;

/// A layer's copies, its inputs, and the point of the sweep it stands at.
template <int D, auto Policy, class Exec>
class layer_work {
 public:
  using T = typename Exec::value_type;
  using memory = typename Exec::memory;
  using layer_type = single_layer<D, Policy, Exec>;
  static constexpr auto policy = Policy;
  static constexpr bool is_mixer = layer_type::is_mixer, is_routed = routes(Policy, D);

  layer_work(layer_options const& options) : options_(options) {}

  /// Goes to a point: inputs, copies, checks. Nothing if it stands there already.
  void go(std::int64_t tokens, std::int64_t context, int threads) {
    if (ready_ && tokens == call_.tokens && context == call_.context && threads == asked_threads_)
      return;
    ready_ = false;  // until all of this has come to its end
    exec_ = make_exec<Exec>(threads);
    asked_threads_ = threads;
    if (options_.max_bytes <= 0) options_.max_bytes = memory_of(*exec_) / 4;
    call_ = {.tokens = tokens, .context = context, .routing = options_.routing};
    x_ = std::make_unique<placed<T, memory>>(inputs(tokens));
    y_ = std::make_unique<placed<T, memory>>(tokens, D);
    active_ = 1;
    prepare(0);
    wrong_ = {};
    check();
    if (wrong_.empty()) look();
    if (!wrong_.empty()) {
      ready_ = true;
      return;
    }
    // Copies, now that it is known what a call reads.
    cost_ = layer_cost(policy, D, Exec::types, call_, reached_);
    double const read = cost_.bytes;
    cost_.bytes += 2.0 * sizeof(T) * D * double(tokens);  // x and y
    if (options_.weights == bench::weights::cold) {
      double const wanted = double(bytes_to_be_cold(*exec_)) / std::max(read, 1.0) + 1;
      std::int64_t const most = std::max<std::int64_t>(1, options_.max_bytes / copy_bytes());
      active_ = static_cast<std::size_t>(std::min<double>(wanted, double(most)));
      for (std::size_t i = 1; i < active_; ++i) prepare(i);
    }
    copies_.resize(std::max(active_, std::size_t{1}));  // those of a point with more are given back
    ready_ = true;
  }

  std::string const& wrong() const { return wrong_; }
  Exec& exec() { return *exec_; }
  call_cost const& cost() const { return cost_; }

  /// To the next copy, and its sequence to where it began.
  void rewind() {
    current_ = (current_ + 1) % active_;
    if constexpr (is_mixer) {
      copy& c = *copies_[current_];
      c.sequence->restore(*c.start);
      c.sequence->reserve(call_.tokens);
    }
  }
  void run() { forward(*copies_[current_], x_->read(), y_->view()); }

  /// What the printout says beside the name.
  std::string label() const {
    std::string text = std::to_string(active_).append(active_ == 1 ? " copy, " : " copies, ");
    text.append(text_of_bytes(double(active_) * double(copy_bytes())));
    if (options_.weights == bench::weights::cold &&
        double(active_) * (cost_.bytes) < double(bytes_to_be_cold(*exec_)))
      text.append(" (no room to be cold)");
    if constexpr (is_routed)
      text.append("; ").append(number(reached_, "%g")).append(" experts reached");
    return text.append("; off by ").append(number(off_, "%.1e"));
  }

 private:
  struct copy {
    layer_type layer;
    std::unique_ptr<typename layer_type::sequence_type> sequence;
    std::unique_ptr<basic_snapshot<typename layer_type::state_type, memory>> start;
    std::int64_t context = -1;
    explicit copy(layer_settings const& s) : layer(s) {}
  };

  std::int64_t copy_bytes() const {
    std::int64_t const kept =
        policies::state(policy, D) * std::int64_t{sizeof(typename layer_type::state_type)} +
        policies::kv(policy, D) * (call_.context + call_.tokens + page_tokens) *
            value_bytes(Exec::types.kv);
    return policies::bytes(policy, D, Exec::types) + kept;
  }

  /// The new tokens; where routing is made, their first channels hold the router's logits.
  matrix<T> inputs(std::int64_t tokens) const {
    matrix<T> x(tokens, D, 1);
    if constexpr (is_routed)
      if (options_.routing != routing::random) {
        auto const wanted =
            wanted_experts(options_.routing, policy.num_experts, policy.top_k, tokens);
        std::vector<float> logits(static_cast<std::size_t>(policy.num_experts));
        for (std::int64_t t = 0; t < tokens; ++t) {
          write_logits(wanted.data() + t * policy.top_k, policy.top_k, policy.num_experts, 4.0f,
                       logits.data());
          std::transform(logits.begin(), logits.end(), x.view().row(t),
                         [](float v) { return static_cast<T>(v); });
        }
      }
    return x;
  }

  void fill_layer(layer_type& made) const {
    fill(made);
    if constexpr (is_routed)
      if (options_.routing != routing::random)
        made.for_each_tensor([](int, std::string_view, tensor const& t, auto& data) {
          if (t.role != role::router) return;
          std::vector<float> row(static_cast<std::size_t>(t.cols));
          for (std::int64_t e = 0; e < t.rows; ++e) {  // the logit of expert e is channel e
            std::fill(row.begin(), row.end(), 0.0f);
            row[static_cast<std::size_t>(e)] = 1;
            data.set_row(0, e, row.data());
          }
        });
  }

  /// Copy i, with room for the point and its context filled.
  void prepare(std::size_t i) {
    if (copies_.size() <= i) copies_.resize(i + 1);
    if (!copies_[i]) {
      copies_[i] = std::make_unique<copy>(options_.settings);
      fill_layer(copies_[i]->layer);
    }
    copy& c = *copies_[i];
    c.layer.reserve(*exec_,
                    std::max({call_.tokens, std::min(call_.context, context_chunk), checked_rows}),
                    call_.context + call_.tokens);
    if constexpr (is_mixer) {
      if (c.context > call_.context || !c.sequence) {
        c.start.reset();
        c.sequence = std::make_unique<typename layer_type::sequence_type>(c.layer.make());
        c.context = 0;
      } else if (c.start) {
        c.sequence->restore(*c.start);
      }
      c.context = fill_context(*exec_, c.layer, *c.sequence, c.context, call_.context);
      c.start = std::make_unique<basic_snapshot<typename layer_type::state_type, memory>>(
          c.sequence->snapshot());
    }
  }
  /// Appends tokens until there are `context`, the same whatever steps it takes.
  template <class E, class Layer, class Sequence>
  static std::int64_t fill_context(E& exec, Layer& one, Sequence& sequence, std::int64_t from,
                                   std::int64_t context) {
    using U = typename E::value_type;
    for (std::int64_t n = 0; from < context; from += n) {
      n = std::min(context_chunk, context - from);
      placed<U, typename E::memory> const x(matrix<U>(n, D, 2, from));
      placed<U, typename E::memory> y(n, D);
      sequence.reserve(n);
      one.forward(exec, sequence, x.read(), y.view());
    }
    return from;
  }

  void forward(copy& c, matrix_view<T const> x, matrix_view<T> y) {
    if constexpr (is_mixer)
      c.layer.forward(*exec_, *c.sequence, x, y);
    else
      c.layer.forward(*exec_, x, y);
  }

  /// The first rows, on a context the reference can reach, beside the reference with the same
  /// weights as they are kept.
  void check() {
    std::int64_t const rows = std::min(call_.tokens, checked_rows),
                       context = std::min(call_.context, checked_context);
    auto const [at, is_new] = checked_.try_emplace({rows, context});
    if (is_new) {
      exec::reference slow;
      single_layer<D, Policy, exec::reference> expected(options_.settings);
      copy_weights(copies_[0]->layer, expected);
      expected.reserve(slow, std::max(rows, context), context + rows);
      auto const drawn = inputs(rows);
      matrix<double> wide(rows, D),
          should(rows,
                 D);  // the values as the layer is given them: no expert's turn is another one's
      for (std::int64_t i = 0; i < rows * D; ++i)
        wide.view().data()[i] = as_double(drawn.read().data()[i]);
      placed<T, memory> const narrow(inputs(rows));
      placed<T, memory> is(rows, D);
      copies_[0]->layer.reserve(*exec_, std::max(rows, context),
                                std::max(call_.context + call_.tokens, context + rows));
      if constexpr (is_mixer) {
        auto reference_sequence = expected.make();
        auto sequence = copies_[0]->layer.make();
        fill_context(slow, expected, reference_sequence, 0, context);
        fill_context(*exec_, copies_[0]->layer, sequence, 0, context);
        reference_sequence.reserve(rows);
        sequence.reserve(rows);
        expected.forward(slow, reference_sequence, wide.read(), should.view());
        copies_[0]->layer.forward(*exec_, sequence, narrow.read(), is.view());
      } else {
        expected.forward(slow, wide.read(), should.view());
        copies_[0]->layer.forward(*exec_, narrow.read(), is.view());
      }
      auto const& got = is.fetch();
      difference const d = compare(got.read(), should.read());
      at->second = {d.complaint(allowed()), d.relative()};
    }
    wrong_ = at->second.first;
    off_ = at->second.second;
    if (!wrong_.empty()) return;

    // The call that will be timed: its first rows are those of a call with few tokens, bit for bit;
    // on a device as far as rounding goes, since products of many rows are summed in another order
    // there.
    run_from_start();
    if constexpr (continues_bitwise()) {
      placed<T, memory> few(rows, D);
      if constexpr (is_mixer) {
        copies_[0]->sequence->restore(*copies_[0]->start);
        copies_[0]->sequence->reserve(rows);
      }
      forward(*copies_[0], x_->read().middle_rows(0, rows), few.view());
      auto const &expected = few.fetch(), &timed = y_->fetch();
      if constexpr (on_device<Exec>) {
        if (std::string const why =
                compare(timed.read().middle_rows(0, rows), expected.read()).complaint(allowed());
            !why.empty())
          wrong_ = "the first rows of " + std::to_string(call_.tokens) +
                   " are not those of a call with " + std::to_string(rows) + ": " + why;
      } else {
        for (std::int64_t r = 0; r < rows && wrong_.empty(); ++r)
          if (std::memcmp(expected.read().row(r), timed.read().row(r), sizeof(T) * D) != 0)
            wrong_ = "row " + std::to_string(r) + " of " + std::to_string(call_.tokens) +
                     " is not that of a call with " + std::to_string(rows) + ", bit for bit";
      }
    }
  }
  static double allowed() { return tolerance_of<Exec>(policies::kv(policy, D) > 0, 1, is_routed); }
  static constexpr bool continues_bitwise() {
    if constexpr (is_mixer)
      return continues<D, Policy>() == continuation::bitwise;
    else
      return true;
  }
  void run_from_start() {
    current_ = 0;
    if constexpr (is_mixer) {
      copies_[0]->sequence->restore(*copies_[0]->start);
      copies_[0]->sequence->reserve(call_.tokens);
    }
    run();
  }

  /// Which experts the timed call reaches: looked at, where the layer shows them.
  void look() {
    reached_ = experts_reached(policy, options_.routing, call_.tokens);
    if constexpr (is_routed) {
      std::vector<std::int64_t> tokens_of(static_cast<std::size_t>(policy.num_experts), 0),
          wanted_of(tokens_of);
      bool seen = false;
      auto const see = [&](char const* name, auto const& m) {
        if constexpr (std::is_same_v<std::remove_const_t<std::remove_pointer_t<decltype(m.data())>>,
                                     std::int32_t>) {
          if (std::string_view(name) != "experts") return;
          auto const experts = fetch<memory>(matrix_view<std::int32_t const>(m));
          for (std::int64_t t = 0; t < m.rows(); ++t)
            for (std::int64_t j = 0; j < m.cols(); ++j)
              ++tokens_of.at(static_cast<std::size_t>(experts.read()(t, j)));
          seen = true;
        }
      };
      if constexpr (is_mixer) {
        copies_[0]->sequence->restore(*copies_[0]->start);
        copies_[0]->sequence->reserve(call_.tokens);
        copies_[0]->layer.forward(*exec_, *copies_[0]->sequence, x_->read(), y_->view(), see);
      } else {
        copies_[0]->layer.forward(*exec_, x_->read(), y_->view(), see);
      }
      if (!seen) return;
      reached_ = double(
          std::count_if(tokens_of.begin(), tokens_of.end(), [](std::int64_t n) { return n > 0; }));
      if (options_.routing == routing::random) return;
      for (std::int32_t const e :
           wanted_experts(options_.routing, policy.num_experts, policy.top_k, call_.tokens))
        ++wanted_of[static_cast<std::size_t>(e)];
      if (tokens_of != wanted_of)
        wrong_ = std::string("tokens do not go to experts as routing ")
                     .append(name_of(options_.routing))
                     .append(" wants them to");
    }
  }

  layer_options options_;
  call call_{.tokens = 0};
  int asked_threads_ = 0;
  bool ready_ = false;
  std::unique_ptr<Exec> exec_;
  std::unique_ptr<placed<T, memory>> x_, y_;
  std::vector<std::unique_ptr<copy>> copies_;
  std::size_t active_ = 1, current_ = 0;
  double reached_ = 0, off_ = 0;
  call_cost cost_;
  std::string wrong_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::string, double>> checked_;
};

}  // namespace detail

/// Registers the layer L, plait::layer<D, policy> or a single_layer, with Google Benchmark, a
/// benchmark for each combination of tokens, context and threads; L says its width and policy as
/// static members d_model and policy.
///
///   plait::bench::register_layer<plait::layer<1024, plait::mamba{}>, plait::exec::cpu<>>(
///       "mamba", {.tokens = {1, 512}, .threads = {1, 2}});
///
/// Before it is timed, the first rows are compared with exec::reference on the same weights as they
/// are kept (on at most 130 cached tokens; benchmark/check.hpp has the bounds), and the first rows
/// of the call that is timed with those of a call with few tokens, bit for bit on the CPU, within
/// the same bound on a device. A disagreement is an error of the benchmark, and nothing is timed.
/// What is counted and printed: benchmark/measure.hpp. plait::error where an option is out of
/// range. Memory: options.max_bytes at most, unless one copy needs more, and for a moment the layer
/// in double.
///
/// Checked are the first three rows, on up to 130 cached tokens, against exec::reference with the
/// same weights as they are kept; and the first rows of the timed call, on its own context, against
/// a call with three tokens, bit for bit; on a device, where products of many rows are summed in
/// another order, within the tolerance.
/// Shapes: L is `plait::layer<D, policy>` or a `single_layer` (for nvcc 13.0 the latter, or the
///   layer's own name: it cannot write the former); Exec is exec::cpu<> unless it is said. One
///   benchmark a combination, named
///   `name/precision/tokens:T/context:C/threads:N/weights:cold/routing:zipf/manual_time`, as far as
///   the layer has a context and routes; on a device without threads
/// Errors:
///   - `needs a channel an expert, but num_experts is`: routing that is made takes the first
///     num_experts channels of the input
///   - `are not those of a call with`: the same on a device
///   - `is not that of a call with`: of the benchmark, as are the next and that of check.hpp: it
///     has no time then
///   - `tokens do not go to experts as routing`
/// Cost: copies of the weights, and while it is checked the layer in double
/// Test: tests/unit/benchmark/register_test.cpp, tests/checks/compile_fail/benchmark.cpp
template <class L, class Exec = typename detail::exec_of<L>::type>
registered register_layer(std::string const& name, layer_options const& options = {}) {
  registered all;
  static_assert(detail::says_what_it_is<L>,
                "plait: register_layer needs a layer that says its width and policy: static "
                "constexpr int d_model = D; static constexpr "
                "auto policy = P;");
  if constexpr (detail::says_what_it_is<L>) {
    static_assert(
        detail::is_bound<L>(),
        "plait: register_layer makes the layer of a policy opaque: bind it with plait::layer_of");
    if constexpr (detail::is_bound<L>() && sizeof(detail::measurable<Exec>) > 0 &&
                  detail::has_types<Exec> && detail::is_made_for_threads<Exec>) {
      constexpr int width = int(L::d_model);
      using work = detail::layer_work<width, L::policy, Exec>;
      static constexpr auto policy = L::policy;
      detail::check_range(name, "tokens", options.tokens, 1, max_call_tokens);
      detail::check_range(name, "context", options.context, 0, std::int64_t{1} << 32);
      if constexpr (work::is_routed)
        if (options.routing != routing::random && policy.num_experts > width)
          throw error("register " + name + ": routing " + name_of(options.routing) +
                      " needs a channel an expert, but num_experts is " +
                      std::to_string(policy.num_experts) + " and d_model " + std::to_string(width));
      bool alone = false;
      if constexpr (work::is_mixer) alone = continues<width, L::policy>() == continuation::none;
      std::vector<std::int64_t> contexts = options.context;
      if (!work::is_mixer || alone) contexts = {0};
      std::string const key = detail::type_key<work>() + name_of(options.weights) +
                              name_of(options.routing) + std::to_string(options.max_bytes) + " " +
                              std::to_string(double(options.settings.norm_eps)) + " " +
                              std::to_string(double(options.settings.rope_theta));
      for (int const threads : detail::threads_of<Exec>(name, options.threads))
        for (std::int64_t const context : contexts)
          for (std::int64_t const tokens : options.tokens) {
            detail::point_name full(name, Exec::types);
            full.add("tokens", tokens);
            if (work::is_mixer) full.add("context", context);
            if (!on_device<Exec>) full.add("threads", threads);
            full.add("weights", name_of(options.weights));
            if (work::is_routed) full.add("routing", name_of(options.routing));
            auto const run = [=](::benchmark::State& state) {
              try {
                work& w = detail::keep<work>(key, [&] { return std::make_shared<work>(options); });
                w.go(tokens, context, threads);
                if (!w.wrong().empty()) return state.SkipWithError(w.wrong().c_str());
                roofline const& on = detail::roofline_of_run(w.exec());
                w.rewind();
                w.run();
                detail::measure(
                    state, w.exec(), tokens, w.cost(), on.seconds(w.cost().flops, w.cost().bytes),
                    on, [&] { w.rewind(); }, [&] { w.run(); });
                state.SetLabel(w.label());
              } catch (std::exception const& e) {
                state.SkipWithError(e.what());
              }
            };
            all.push_back(::benchmark::RegisterBenchmark(full.text().c_str(), run)
                              ->UseManualTime()
                              ->Unit(::benchmark::kMicrosecond));
          }
    }
  }
  return all;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
