// A layer as a benchmark.
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

template <class Layer>
constexpr bool says_what_it_is = requires {
  { Layer::d_model } -> std::convertible_to<std::int64_t>;
  Layer::policy;
};
/// Whether Layer is the layer<D, policy> of what it says of itself, or a single_layer of that.
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

/// A layer as a subject (benchmark/subject.hpp).
template <int D, auto Policy, class Exec>
class layer_subject {
 public:
  using exec_type = Exec;
  using T = typename Exec::value_type;
  using memory = typename Exec::memory;
  using layer_type = single_layer<D, Policy, Exec>;
  static constexpr auto policy = Policy;
  static constexpr bool is_mixer = layer_type::is_mixer, is_routed = routes(Policy, D);
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

  void begin(Exec&, call const& what) {
    call_ = what;
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
        std::max({call_.tokens, std::min(call_.context, context_chunk), checked_rows});
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

  /// The first rows beside the reference, the timed call beside one with few tokens, and the
  /// experts it reaches.
  verdict check(Exec& exec, copy& c) {
    verdict v = against_reference(exec, c);
    if (v.wrong.empty()) v.wrong = against_few_rows(exec, c);
    if (v.wrong.empty()) v.wrong = look(exec, c);
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

  call_cost cost() const {
    return {cost_.flops, cost_.bytes + 2.0 * sizeof(T) * D * double(call_.tokens)};
  }  // with x and y
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
  /// The new tokens; where routing is made, their first channels hold the router's logits.
  matrix<T> inputs(std::int64_t tokens) const {
    matrix<T> x(tokens, D, 1);
    if constexpr (is_routed)
      if (routing_ != routing::random) {
        auto const wanted = wanted_experts(routing_, policy.num_experts, policy.top_k, tokens);
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
      if (routing_ != routing::random)
        made.for_each_tensor([](int, std::string_view, tensor const& t, auto& data) {
          if (t.role == role::router) fill_router(t, data, 0);
        });
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

  /// The new tokens x on a context that is filled here.
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

  template <class... See>
  void forward(Exec& exec, copy& c, matrix_view<T const> x, matrix_view<T> y, See const&... see) {
    if constexpr (is_mixer)
      c.layer.forward(exec, *c.sequence, x, y, see...);
    else
      c.layer.forward(exec, x, y, see...);
  }

  /// The first rows, on a context the reference can reach, beside the reference with the same
  /// weights as they are kept.
  verdict against_reference(Exec& exec, copy& c) {
    std::int64_t const rows = std::min(call_.tokens, checked_rows),
                       context = std::min(call_.context, checked_context);
    auto const [at, is_new] = checked_.try_emplace({rows, context});
    if (is_new) {
      exec::reference slow;
      single_layer<D, Policy, exec::reference> expected(settings_);
      copy_weights(c.layer, expected);
      expected.reserve(slow, std::max(rows, context), context + rows);
      auto const drawn = inputs(rows);
      matrix<double> wide(rows, D),
          should(rows,
                 D);  // the values as the layer is given them: no expert's turn is another one's
      for (std::int64_t i = 0; i < rows * D; ++i)
        wide.view().data()[i] = as_double(drawn.read().data()[i]);
      forward_on_context(slow, expected, context, wide.read(), should.view());
      placed<T, memory> const narrow(inputs(rows));
      placed<T, memory> is(rows, D);
      c.layer.reserve(exec, std::max(rows, context),
                      std::max(call_.context + call_.tokens, context + rows));
      forward_on_context(exec, c.layer, context, narrow.read(), is.view());
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
    std::int64_t const rows = std::min(call_.tokens, checked_rows);
    placed<T, memory> few(rows, D);
    rewind(c);
    forward(exec, c, x_->read().middle_rows(0, rows), few.view());
    auto const &expected = few.fetch(), &timed = y_->fetch();
    return disagreement<Exec>(timed.read(), expected.read(), call_.tokens, allowed());
  }
  static double allowed() { return tolerance_of<Exec>(policies::kv(policy, D) > 0, 1, is_routed); }
  static constexpr bool continues_bitwise() {
    if constexpr (is_mixer)
      return continues<D, Policy>() == continuation::bitwise;
    else
      return true;
  }

  /// The experts that the timed call reaches: looked at, where the layer shows them, and as wanted.
  std::string look(Exec& exec, copy& c) {
    reached_ = experts_reached(policy, routing_, call_.tokens);
    std::string wrong;
    if constexpr (is_routed) {
      rewind(c);
      forward(exec, c, x_->read(), y_->view(), [&](char const* name, auto const& shown) {
        visit_experts<memory>(
            name, shown, policy.num_experts, [&](std::vector<std::int64_t> const& tokens) {
              reached_ = reached_experts(tokens);
              if (routing_ == routing::random) return;
              auto const wanted =
                  wanted_experts(routing_, policy.num_experts, policy.top_k, call_.tokens);
              if (tokens !=
                  tokens_per_expert(wanted.data(), std::int64_t(wanted.size()), policy.num_experts))
                wrong = misrouted(routing_);
            });
      });
    }
    return wrong;
  }

  layer_settings settings_;
  bench::routing routing_;
  call call_{.tokens = 0};
  std::shared_ptr<placed<T, memory>> x_, y_;
  double reached_ = 0;
  call_cost cost_;
  std::map<std::pair<std::int64_t, std::int64_t>, verdict> checked_;  // by rows and context
};

}  // namespace detail

/// Registers the layer L, plait::layer<D, policy> or a single_layer, with Google Benchmark, a
/// benchmark for each combination of tokens, context and threads; L says its width and policy as
/// static members d_model and policy.
///
///   using mamba = plait::layer<1024, plait::mamba{}>;
///   plait::bench::register_layer<mamba, plait::exec::cpu<>>("mamba", {.tokens = {1, 512}, .threads
///   = {1, 2}});
///
/// Before it is timed, the first rows are compared with exec::reference on the same weights as they
/// are kept (on at most 130 cached tokens; benchmark/check.hpp has the bounds), and the first rows
/// of the call that is timed with those of a call with few tokens, bit for bit on the CPU, within
/// the same bound on a device. A disagreement is an error of the benchmark, and nothing is timed.
/// Counters and label: benchmark/driver.hpp. plait::error where an option is out of range. Memory:
/// options.max_bytes at most, unless one copy needs more, and for a moment the layer in double.
template <class L, class Exec = typename detail::exec_of<L>::type>
registered register_layer(std::string const& name, layer_options const& options = {}) {
  static_assert(detail::says_what_it_is<L>,
                "plait: register_layer needs a layer that says its width and policy: static "
                "constexpr int d_model = D; static constexpr "
                "auto policy = P;");
  if constexpr (detail::says_what_it_is<L>) {
    static_assert(
        detail::is_bound<L>(),
        "plait: register_layer makes the layer of a policy opaque: bind it with plait::layer_of");
    if constexpr (detail::is_bound<L>() && sizeof(detail::measurable<Exec>) > 0 &&
                  detail::is_measurable<Exec>) {
      constexpr int width = int(L::d_model);
      static constexpr auto policy = L::policy;
      using subject_type = detail::layer_subject<width, L::policy, Exec>;
      if constexpr (subject_type::is_routed)
        detail::check_channels(name, options.routing, policy.num_experts, width,
                               "but num_experts is " + std::to_string(policy.num_experts) +
                                   " and d_model " + std::to_string(width));
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
