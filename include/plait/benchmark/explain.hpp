// The cost of a call of a model, layer by layer, and the bound on its speed on a roofline.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/benchmark/text.hpp>
#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/policy/hybrid.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ostream>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// A row of an explanation: a sublayer with its norm, the embedding, or the head.
/// Test: tests/unit/benchmark/explain_test.cpp
struct explained_row {
  int layer = -1;  ///< -1: embedding or head
  std::string part;
  call_cost cost;
  double seconds = 0;   ///< the least time on the roofline
  double measured = 0;  ///< the measured time in seconds; 0 where there is no measurement
  /// Operations per byte. Above the roofline's flops / bytes, arithmetic is the bound.
  double intensity() const { return cost.bytes > 0 ? cost.flops / cost.bytes : 0; }
};

/// The rows of one call. `out << e` prints them as a table.
/// Test: tests/unit/benchmark/explain_test.cpp
struct explanation {
  bench::call call;
  precision types;
  bench::roofline roofline;
  std::vector<explained_row> rows;
  /// The least time of the next decode step: one more token of each sequence.
  double next_seconds = 0;

  call_cost cost() const {
    call_cost sum;
    for (auto const& r : rows) sum += r.cost;
    return sum;
  }
  /// The least time of the call: the sum over the rows, each with its own bound.
  double seconds() const {
    double sum = 0;
    for (auto const& r : rows) sum += r.seconds;
    return sum;
  }
  /// The measured time in seconds; 0 without a measurement.
  double measured() const {
    double sum = 0;
    for (auto const& r : rows) sum += r.measured;
    return sum;
  }
  /// The bound on new tokens per second.
  double tokens_per_second() const { return double(call.tokens * call.sequences) / seconds(); }
  /// The bound on tokens per second of the next decode step.
  double decode_tokens_per_second() const { return double(call.sequences) / next_seconds; }
};

/// The cost of a call of any architecture, a row per part: the embedding, each layer's mixer and
/// feed-forward with the weights of their norms, and the head with the final norm, for the last
/// token of each sequence. Operations of norms and residuals are not counted, as in
/// policy/count.hpp.
///
/// ```cpp body
/// plait::bench::explanation const e =
///     plait::bench::explain<plait::configs::jamba_v0_1>(plait::int8, 512, 0,
///                                                      {.flops = 1000e9, .bytes = 60e9});
/// std::cout << e << e.tokens_per_second();  // the table, and the bound on prefill
/// ```
/// Equation: a row's seconds are max(flops / peak, bytes / bandwidth); the call's are their sum.
///   Operations of one token add up to those of `decode_cost` (policy/count.hpp); bytes add up to
///   those of `decode_cost` and the state once more, since it is also written
/// Shapes: reached [layers]: experts reached in each layer; empty: as many as the routing implies
/// Errors:
///   - `a call has 1 or more tokens, a context of 0 or more and 1 or more sequences`
///   - `a roofline has operations and bytes per second above 0`
///   - `experts reached are given for … layers of …`
/// Test: tests/unit/benchmark/explain_test.cpp
template <class Architecture>
requires(std::is_class_v<Architecture>) explanation
    explain(Architecture const& c, precision const& as, call const& what, roofline const& on,
            std::span<double const> reached = {}) {
  if (what.tokens < 1 || what.context < 0 || what.sequences < 1)
    throw error(
        sentence("explain: a call has 1 or more tokens, a context of 0 or more and 1 or more "
                 "sequences, not {}, {} and {}",
                 what.tokens, what.context, what.sequences));
  if (!on.known())
    throw error(
        sentence("explain: a roofline has operations and bytes per second above 0, not {} and {}",
                 on.flops, on.bytes));
  if (!reached.empty() && reached.size() != static_cast<std::size_t>(c.num_layers()))
    throw error(sentence("explain: experts reached are given for {} layers of {}", reached.size(),
                         c.num_layers()));
  explanation e{.call = what, .types = as, .roofline = on, .rows = {}};
  int const d = c.d_model;
  auto const add = [&](int layer, std::string part, call_cost const& cost) {
    e.rows.push_back({.layer = layer,
                      .part = std::move(part),
                      .cost = cost,
                      .seconds = on.seconds(cost.flops, cost.bytes)});
  };
  bool const vocabulary = c.vocab_size != no_vocabulary;
  double const norm = double(policies::bytes(c.norm, d, as));
  double const rows = double(what.tokens * what.sequences);
  if (vocabulary) add(-1, "embedding", {0, rows * double(matrix_bytes(as.weights, 1, d))});
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&](auto const& mixer, auto const& ffn) {
      auto const sublayer = [&]<class Policy>(Policy const& p, char const* otherwise) {
        if constexpr (!std::is_same_v<Policy, none>) {
          call_cost cost = layer_cost(p, d, as, what,
                                      reached.empty() ? -1 : reached[static_cast<std::size_t>(i)]);
          cost.bytes += norm;
          add(i, std::string(policy_name<Policy>(otherwise)), cost);
        }
      };
      sublayer(mixer, "mixer");
      sublayer(ffn, "ffn");
    });
  if (vocabulary)
    add(-1, "head",
        {2.0 * double(c.vocab_size) * d * double(what.sequences),
         norm + double(matrix_bytes(as.weights, c.vocab_size, d))});
  if (what.tokens == 1) {
    e.next_seconds = e.seconds();  // the next step has one key more
  } else {
    call next = what;
    next.tokens = 1;
    next.context += what.tokens;
    e.next_seconds = explain(c, as, next, on).seconds();
  }
  return e;
}

/// The same for a config that is a constant, and one sequence:
///
///   constexpr plait::bench::roofline machine{.flops = 472e9, .bytes = 60e9};
///   std::cout << plait::bench::explain<plait::configs::jamba_v0_1>(plait::int8, 512, 0, machine);
/// Test: tests/unit/benchmark/explain_test.cpp
template <auto Config>
explanation explain(precision const& as, std::int64_t tokens, std::int64_t context,
                    roofline const& on, routing r = routing::random) {
  // A copy: clang 14 reads wrong members of a template argument at run time.
  static constexpr auto config = Config;
  return explain(config, as, call{.tokens = tokens, .context = context, .routing = r}, on);
}

/// Prints a line for the call, one per row, the sum, and the bound on tokens per second; with the
/// measured times next to the least ones, if there are any.
/// Test: tests/unit/benchmark/explain_test.cpp
inline std::ostream& operator<<(std::ostream& out, explanation const& e) {
  using detail::number;
  bool const measured = e.measured() > 0;
  double const gflops = e.roofline.flops / 1e9, gbytes = e.roofline.bytes / 1e9;
  out << (e.call.tokens == 1 ? "decode" : "prefill") << ": ";
  if (e.call.sequences != 1) out << e.call.sequences << " sequences of ";
  out << e.call.tokens << (e.call.tokens == 1 ? " token" : " tokens") << " on a context of "
      << e.call.context << ", " << name_of(e.types) << ", routing " << name_of(e.call.routing)
      << "; roofline " << number(gflops, "%.4g") << " GFLOP/s, " << number(gbytes, "%.4g")
      << " GB/s\n";
  auto const line = [&](std::string const& layer, std::string const& part, call_cost const& cost,
                        double intensity, double seconds, double spent) {
    char text[200];
    std::snprintf(text, sizeof text, "%5s %-16s %12.3f %12.3f %10.2f %12.1f %6s", layer.c_str(),
                  part.c_str(), cost.flops / 1e9, cost.bytes / 1e6, intensity, seconds * 1e6,
                  cost.flops / e.roofline.flops > cost.bytes / e.roofline.bytes ? "FLOP" : "bytes");
    out << text;
    if (measured) {
      std::snprintf(text, sizeof text, " %12.1f %7.1f", spent * 1e6,
                    spent > 0 ? 100 * seconds / spent : 0.0);
      out << text;
    }
    out << '\n';
  };
  out << "layer part                    GFLOP           MB  FLOP/byte     least us  bound"
      << (measured ? "  measured us       %" : "") << '\n';
  for (auto const& r : e.rows)
    line(r.layer < 0 ? "" : std::to_string(r.layer), r.part, r.cost, r.intensity(), r.seconds,
         r.measured);
  call_cost const sum = e.cost();
  line("", "sum", sum, sum.bytes > 0 ? sum.flops / sum.bytes : 0, e.seconds(), e.measured());
  out << "at most " << number(e.tokens_per_second(), "%.1f") << " tokens/s";
  if (measured)
    out << ", measured " << number(double(e.call.tokens * e.call.sequences) / e.measured(), "%.1f");
  if (e.call.tokens > 1)
    out << "; decode on top of it at most " << number(e.decode_tokens_per_second(), "%.1f")
        << " tokens/s";
  return out << '\n';
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
