// Benchmarks of single layers.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/experts.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/sweep.hpp>
#include <plait/benchmark/text.hpp>
#include <plait/core/sentence.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/layers/layer.hpp>
#include <plait/model/single_layer.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
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

/// Whether a layer has its width and policy as static members.
template <class Layer>
constexpr bool has_width_and_policy = requires {
  { Layer::d_model } -> std::convertible_to<std::int64_t>;
  Layer::policy;
};
/// Whether Layer is the layer<D, policy> of its own width and policy, or a single_layer.
template <class Layer>
constexpr bool is_bound() {
  if constexpr (requires { typename Layer::exec_type; })
    return true;
  else
    return std::is_same_v<layer<int(Layer::d_model), Layer::policy>, Layer>;
}
/// The execution policy of a single_layer; of any other layer exec::cpu<>.
template <class Layer>
struct exec_of {
  using type = exec::cpu<>;
};
template <class Layer>
requires requires { typename Layer::exec_type; }
struct exec_of<Layer> {
  using type = typename Layer::exec_type;
};

/// Whether a policy routes by a router, whose logits benchmarks can set.
template <class Policy>
constexpr bool routes(Policy const& p, int d_model) {
  bool router = false;
  describe(p, d_model, [&](tensor const& t) { router = router || t.role == role::router; });
  return router && policies::experts_chosen(p) > 0;
}

/// The rows that are compared with the reference, which is slow, and their longest context.
inline constexpr std::int64_t max_checked_rows = 3;
inline constexpr std::int64_t max_checked_context = 130;

/// Tokens per call while a context is filled.
inline constexpr std::int64_t context_chunk = 512;

/// A layer as a subject (benchmark/subject.hpp).
template <int D, auto Policy, class Exec>
class layer_subject {
 public:
  using exec_type = Exec;
  using T = typename Exec::value_type;
  using memory = typename Exec::memory;
  using layer_type = single_layer<D, Policy, Exec>;
  static constexpr auto policy = Policy;
  static constexpr bool is_mixer = layer_type::is_mixer;
  static constexpr bool is_routed = routes(Policy, D);
  static constexpr parameters depends{.context = is_mixer, .routing = is_routed};

  /// A layer with its weights, and a sequence that begins at `context` tokens.
  struct copy {
    layer_type layer;
    std::unique_ptr<typename layer_type::sequence_type> sequence;
    std::unique_ptr<basic_snapshot<typename layer_type::state_type, memory>> start;
    std::int64_t context = -1;
    explicit copy(layer_settings const& s) : layer(s) {}
  };

  layer_subject(layer_settings const& settings, bench::routing r)
      : settings_(settings), routing_(r) {}

  friend bool operator==(layer_subject const& a, layer_subject const& b) {
    return a.settings_.norm_eps == b.settings_.norm_eps &&
           a.settings_.rope_theta == b.settings_.rope_theta && a.routing_ == b.routing_;
  }

  void begin(Exec&, call const& at) {
    call_ = at;
    x_ = std::make_shared<placed<T, memory>>(inputs(call_.tokens));
    y_ = std::make_shared<placed<T, memory>>(call_.tokens, D);
  }

  void prepare(Exec& exec, std::unique_ptr<copy>& one) {
    if (!one) {
      one = std::make_unique<copy>(settings_);
      fill_layer(one->layer);
    }
    copy& c = *one;
    std::int64_t const rows =
        std::max({call_.tokens, std::min(call_.context, context_chunk), max_checked_rows});
    c.layer.reserve(exec, rows, call_.context + call_.tokens);
    if constexpr (is_mixer) {
      if (c.context > call_.context || !c.sequence) {
        c.start.reset();
        c.sequence = std::make_unique<typename layer_type::sequence_type>(c.layer.make());
        c.context = 0;
      } else if (c.start) {
        c.sequence->restore(*c.start);
      }
      c.context = fill_context(exec, c.layer, *c.sequence, c.context, call_.context);
      c.start = std::make_unique<basic_snapshot<typename layer_type::state_type, memory>>(
          c.sequence->snapshot());
    }
  }

  /// Compares the first rows with the reference and with a call with few tokens, and counts the
  /// experts of the timed call.
  verdict check(Exec& exec, copy& c) {
    verdict v = against_reference(exec, c);
    if (v.error.empty()) v.error = against_few_rows(exec, c);
    if (v.error.empty()) v.error = count_experts(exec, c);
    cost_ = layer_cost(policy, D, Exec::types, call_, reached_);
    return v;
  }

  void rewind(copy& c) {
    if constexpr (is_mixer) {
      c.sequence->restore(*c.start);
      c.sequence->reserve(call_.tokens);
    }
  }
  void run(Exec& exec, copy& c) { forward(exec, c, x_->read(), y_->view()); }

  /// The layer's cost, with x and y.
  call_cost cost() const {
    return {cost_.flops, cost_.bytes + 2.0 * sizeof(T) * D * double(call_.tokens)};
  }
  double copy_traffic() const { return cost_.bytes; }
  std::int64_t copy_bytes() const {
    std::int64_t const tokens = call_.context + call_.tokens + page_tokens;
    return policies::bytes(policy, D, Exec::types) +
           policies::state(policy, D) * std::int64_t{sizeof(typename layer_type::state_type)} +
           policies::kv(policy, D) * tokens * value_bytes(Exec::types.kv);
  }
  std::string note() const {
    return is_routed ? "; " + number(reached_, "%g") + " experts reached" : "";
  }

 private:
  /// The new tokens. Unless routing is random, their first channels hold the router's logits.
  matrix<T> inputs(std::int64_t tokens) const {
    matrix<T> x(tokens, D, 1);
    if constexpr (is_routed)
      if (routing_ != routing::random) {
        auto const assigned = assigned_experts(routing_, policy.num_experts, policy.top_k, tokens);
        std::vector<float> logits(static_cast<std::size_t>(policy.num_experts));
        for (std::int64_t t = 0; t < tokens; ++t) {
          write_logits(assigned.data() + t * policy.top_k, policy.top_k, policy.num_experts, 4.0f,
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
      if (routing_ != routing::random)
        made.for_each_tensor([](int, std::string_view, tensor const& t, auto& data) {
          if (t.role == role::router) fill_router(t, data, 0);
        });
  }

  /// Appends tokens until there are `context`. Their values do not depend on the chunks.
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

  /// Fills a context, and computes the new tokens x on it.
  template <class E, class Layer, class X, class Y>
  static void forward_on_context(E& exec, Layer& one, std::int64_t context, X const x, Y const y) {
    if constexpr (is_mixer) {
      auto sequence = one.make();
      fill_context(exec, one, sequence, 0, context);
      sequence.reserve(x.rows());
      one.forward(exec, sequence, x, y);
    } else {
      one.forward(exec, x, y);
    }
  }

  template <class... Observer>
  void forward(Exec& exec, copy& c, matrix_view<T const> x, matrix_view<T> y,
               Observer const&... observer) {
    if constexpr (is_mixer)
      c.layer.forward(exec, *c.sequence, x, y, observer...);
    else
      c.layer.forward(exec, x, y, observer...);
  }

  /// Compares the first rows, on a short context, with the reference, which has the same weights as
  /// they are stored.
  verdict against_reference(Exec& exec, copy& c) {
    std::int64_t const rows = std::min(call_.tokens, max_checked_rows);
    std::int64_t const context = std::min(call_.context, max_checked_context);
    auto const [at, is_new] = checked_.try_emplace({rows, context});
    if (is_new) {
      exec::reference slow;
      single_layer<D, Policy, exec::reference> expected(settings_);
      copy_weights(c.layer, expected);
      expected.reserve(slow, std::max(rows, context), context + rows);
      // The reference has the inputs as the layer has them, rounded to T: rounding in one of the
      // two alone could choose another expert.
      auto const rounded = inputs(rows);
      matrix<double> reference_inputs(rows, D);
      matrix<double> should(rows, D);
      for (std::int64_t i = 0; i < rows * D; ++i)
        reference_inputs.view().data()[i] = as_double(rounded.read().data()[i]);
      forward_on_context(slow, expected, context, reference_inputs.read(), should.view());
      placed<T, memory> const layer_inputs(inputs(rows));
      placed<T, memory> is(rows, D);
      c.layer.reserve(exec, std::max(rows, context),
                      std::max(call_.context + call_.tokens, context + rows));
      forward_on_context(exec, c.layer, context, layer_inputs.read(), is.view());
      auto const& got = is.fetch();
      difference const d = compare(got.read(), should.read());
      at->second = {d.complaint(allowed()), d.relative()};
    }
    return at->second;
  }

  std::string against_few_rows(Exec& exec, copy& c) {
    rewind(c);
    run(exec, c);
    if constexpr (!continues_bitwise()) return {};
    std::int64_t const rows = std::min(call_.tokens, max_checked_rows);
    placed<T, memory> few(rows, D);
    rewind(c);
    forward(exec, c, x_->read().middle_rows(0, rows), few.view());
    auto const& expected = few.fetch();
    auto const& timed = y_->fetch();
    return disagreement<Exec>(timed.read(), expected.read(), call_.tokens, allowed());
  }
  static double allowed() { return tolerance_of<Exec>(policies::kv(policy, D) > 0, 1, is_routed); }
  static constexpr bool continues_bitwise() {
    if constexpr (is_mixer)
      return continues<D, Policy>() == continuation::bitwise;
    else
      return true;
  }

  /// Counts the experts that the timed call reaches, where the layer shows them to its observer,
  /// and compares them with the assigned ones.
  std::string count_experts(Exec& exec, copy& c) {
    reached_ = experts_reached(policy, routing_, call_.tokens);
    std::string error;
    if constexpr (is_routed) {
      rewind(c);
      forward(exec, c, x_->read(), y_->view(), [&](char const* name, auto const& view) {
        visit_experts<memory>(
            name, view, policy.num_experts, [&](std::vector<std::int64_t> const& tokens) {
              reached_ = reached_experts(tokens);
              if (routing_ == routing::random) return;
              auto const assigned =
                  assigned_experts(routing_, policy.num_experts, policy.top_k, call_.tokens);
              if (tokens != tokens_per_expert(assigned.data(), std::int64_t(assigned.size()),
                                              policy.num_experts))
                error = misrouted(routing_);
            });
      });
    }
    return error;
  }

  layer_settings settings_;
  bench::routing routing_;
  call call_{.tokens = 0};
  std::shared_ptr<placed<T, memory>> x_, y_;
  double reached_ = 0;
  call_cost cost_;
  std::map<std::pair<std::int64_t, std::int64_t>, verdict> checked_;  ///< by rows and context
};

}  // namespace detail

/// Registers the layer L with Google Benchmark, a benchmark per combination of tokens, context and
/// threads. L has its width and policy as static members d_model and policy.
///
///   using mamba = plait::layer<1024, plait::mamba{}>;
///   plait::bench::register_layer<mamba>("mamba", {.tokens = {1, 512}, .threads = {1, 2}});
///
/// A point is checked before it is timed. The first three rows, on up to 130 cached tokens, are
/// compared with those of exec::reference with the same weights as they are stored, within the
/// bounds of benchmark/check.hpp. The first rows of the timed call, on its own context, are
/// compared with those of a call with three tokens: bit for bit on the CPU, within the same bound
/// on a device, which sums products of many rows in another order. The experts that the timed call
/// reaches are counted, and must be those that the routing assigns. A benchmark that fails is an
/// error and has no time.
///
/// Counters and label: `registered`.
/// Shapes: L is `plait::layer<D, policy>` or a `single_layer` (for nvcc 13.0 the latter, or the
///   layer's own name: it cannot write the former). Exec is that of a single_layer, else
///   exec::cpu<> by default. Benchmarks are named
///   `name/precision/tokens:T/context:C/threads:N/weights:cold/routing:zipf/manual_time`: without
///   the context of a layer that has none, the routing of a layer without a router, and the threads
///   of a device
/// Errors: those of `sweep` (benchmark/sweep.hpp) and benchmark/experts.hpp; of the benchmark,
///   those of benchmark/check.hpp
/// Cost: `options.max_bytes` of copies, or one copy where it needs more; while it is checked, the
///   layer in double
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp,
///   tests/checks/compile_fail/benchmark.cpp
template <class L, class Exec = typename detail::exec_of<L>::type>
registered register_layer(std::string const& name, layer_options const& options = {}) {
  static_assert(detail::has_width_and_policy<L>,
                "plait: register_layer needs a layer that says its width and policy: static "
                "constexpr int d_model = D; static constexpr "
                "auto policy = P;");
  if constexpr (detail::has_width_and_policy<L>) {
    static_assert(
        detail::is_bound<L>(),
        "plait: register_layer makes the layer of a policy anew: bind it with plait::layer_of");
    if constexpr (detail::is_bound<L>() && sizeof(detail::measurable<Exec>) > 0 &&
                  detail::is_measurable<Exec>) {
      constexpr int width = int(L::d_model);
      static constexpr auto policy = L::policy;
      using subject_type = detail::layer_subject<width, L::policy, Exec>;
      if constexpr (subject_type::is_routed)
        detail::check_channels(
            name, options.routing, policy.num_experts, width,
            sentence("but num_experts is {} and d_model {}", policy.num_experts, width));
      sweep by = detail::sweep_of(options);
      if constexpr (subject_type::is_mixer)
        if (continues<width, L::policy>() == continuation::none) by.context = {0};
      return register_subject(name, subject_type(options.settings, options.routing), by);
    }
  }
  return {};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
