// Single ops in f32, at their shapes in a hybrid of a quarter of Jamba v0.1's width (shapes.hpp).
// Each is a function of execution policy, tokens and context that returns the op with its operands
// (plait/benchmark/register_op.hpp).
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

namespace {

namespace ops = plait::ops;
using bench::config_1b;
using bench::d_model;
using plait::bench::matrix;
using plait::bench::op;
using plait::bench::op_sequence;

constexpr auto attention = config_1b.attention;
constexpr auto mamba = config_1b.recurrent;
constexpr auto mlp = config_1b.dense;
constexpr auto moe = config_1b.sparse;
constexpr std::int64_t inner = mamba.inner(d_model), rank = mamba.rank(d_model),
                       states = mamba.d_state;
constexpr double value = sizeof(float);

/// The result of `make`: for the CPU a single object, for the reference one per call, since in
/// double it is large.
template <class Exec, class Make>
auto shared(Make const& make) {
  using object = decltype(make());
  if constexpr (std::is_same_v<Exec, plait::exec::reference>) {
    return std::make_shared<object>(make());
  } else {
    static auto const single = std::make_shared<object>(make());
    return single;
  }
}

/// Weights of a policy at the benchmarks' width.
template <auto Policy, class Exec>
auto weights_of() {
  return shared<Exec>([] {
    plait::weights<Policy, d_model, typename Exec::storage_type> w;
    w.allocate();
    w.for_each([](plait::tensor const& t, auto& data) {
      plait::bench::fill(t, data, plait::detail::mix(1, std::string_view(t.name)));
    });
    return w;
  });
}

/// The cost of `n` tokens, from operations and values per token and a fixed number of values.
plait::bench::call_cost cost(std::int64_t n, double flops, double values, double fixed_values = 0) {
  return {double(n) * flops, value * (double(n) * values + fixed_values)};
}

constexpr auto embed = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  auto table = shared<Exec>([] {
    plait::tensor const t{.name = "embedding", .rows = config_1b.vocab_size, .cols = d_model};
    typename Exec::storage_type::table made;
    made.allocate(t);
    plait::bench::fill(t, made, 3);
    return made;
  });
  std::vector<std::int32_t> ids;
  for (std::int64_t t = 0; t < n; ++t)
    ids.push_back(static_cast<std::int32_t>(plait::detail::mix(5, std::uint64_t(t)) %
                                            std::uint64_t(config_1b.vocab_size)));
  return op(
      matrix<T>(n, d_model), cost(n, 0, 2 * d_model),
      [table, ids](Exec& exec, plait::matrix_view<T> y) { ops::embed(exec, ids, *table, y); });
};

constexpr auto add_norm = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  plait::tensor const t{.name = "weight", .role = plait::role::vector, .rows = d_model};
  typename Exec::storage_type::template tensor<plait::role::vector> weight;
  weight.allocate(t);
  plait::bench::fill(t, weight, 4);
  return op(matrix<T>(n, d_model),
            cost(n, 5 * d_model, 4 * d_model),  // x read and written, y read, the result written
            [x = matrix<T>(n, d_model, 1), y = matrix<T>(n, d_model, 2),
             weight = std::move(weight)](Exec& exec, plait::matrix_view<T> out) mutable {
              ops::add_norm(exec, x.view(), y.read(), weight, 1e-6f,
                            out);  // x grows by y with each run
            });
};

/// One of Mamba's linear maps.
template <plait::tensor_name Name, std::int64_t In, std::int64_t Out>
constexpr auto linear = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  return op(matrix<T>(n, Out), cost(n, 2 * In * Out, In + Out, In * Out),
            [x = matrix<T>(n, In, 1), w = weights_of<mamba, Exec>()](Exec& exec,
                                                                     plait::matrix_view<T> y) {
              ops::linear(exec, x.read(), ops::into(y, w->template get<Name>()));
            });
};

constexpr auto gated_linear = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  return op(matrix<T>(n, mlp.d_ff),
            cost(n, (4.0 * d_model + 5) * mlp.d_ff, d_model + mlp.d_ff, 2.0 * d_model * mlp.d_ff),
            [x = matrix<T>(n, d_model, 1), w = weights_of<mlp, Exec>()](Exec& exec,
                                                                        plait::matrix_view<T> y) {
              ops::gated_linear(exec, x.read(), w->template get<"gate_proj">(),
                                w->template get<"up_proj">(), y);
            });
};

constexpr auto conv_silu = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  auto sequence = std::make_shared<op_sequence<T>>(n, 0, (mamba.d_conv - 1) * inner, 0);
  // u, y; taps, bias, window in and out
  return op(matrix<T>(n, inner),
            cost(n, (2 * mamba.d_conv + 5) * inner, 2 * inner, (3 * mamba.d_conv - 1) * inner),
            [sequence, u = matrix<T>(n, 2 * inner, 1), w = weights_of<mamba, Exec>()](
                Exec& exec, plait::matrix_view<T> y) {
              // From the second run on, the window is that of the last tokens.
              ops::conv_silu(exec, sequence->view(), u.read().middle_cols(0, inner),
                             w->template get<"conv1d">(), w->template find<"conv1d.bias">(), y);
            });
};

constexpr auto selective_scan = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  auto sequence = std::make_shared<op_sequence<T>>(n, 0, states * inner, 0);
  // u, z, dt, y, B, C; A, state in and out
  return op(matrix<T>(n, inner),
            cost(n, (7 * states + 11) * inner, 4 * inner + 2 * states, 3 * states * inner),
            [sequence, uz = matrix<T>(n, 2 * inner, 1), dt = matrix<T>(n, inner, 2),
             bc = matrix<T>(n, 2 * states, 3), w = weights_of<mamba, Exec>()](
                Exec& exec, plait::matrix_view<T> y) {  // each run continues from the last state
              auto const in = uz.read(), selected = bc.read();
              ops::selective_scan(
                  exec, sequence->view(),
                  {in.middle_cols(0, inner), in.middle_cols(inner, inner), dt.read(),
                   selected.middle_cols(0, states), selected.middle_cols(states, states)},
                  w->template get<"A_log">(), w->template get<"D">(), y);
            });
};

constexpr auto attend = []<class Exec>(Exec&, std::int64_t n, std::int64_t context) {
  using T = typename Exec::value_type;
  constexpr std::int64_t dim = attention.dim(d_model), q_cols = attention.num_heads * dim,
                         kv_cols = attention.num_kv_heads * dim;
  auto sequence = std::make_shared<op_sequence<T>>(n, context, 0, 2 * kv_cols * plait::page_tokens);
  double const keys = double(context) + 0.5 * double(n + 1);
  // q, y; new k, v: read, written; cached ones
  return op(matrix<T>(n, q_cols),
            cost(n, double(extra_flops(attention, d_model, 1)) * keys, 2 * q_cols + 4 * kv_cols,
                 2.0 * kv_cols * double(context)),
            [sequence, q = matrix<T>(n, q_cols, 1), k = matrix<T>(n, kv_cols, 2),
             v = matrix<T>(n, kv_cols, 3)](Exec& exec, plait::matrix_view<T> y) {
              ops::paged_attention(
                  exec, sequence->view(),
                  {.heads = attention.num_heads, .kv_heads = attention.num_kv_heads, .dim = dim},
                  q.read(), k.read(), v.read(), y);
            });
};

/// The lists of a router for n tokens.
struct routing_lists {
  plait::buffer<std::int32_t> expert, place, token, first;
  explicit routing_lists(std::int64_t n)
      : expert(moe.top_k * n),
        place(moe.top_k * n),
        token(moe.top_k * n),
        first(moe.num_experts + 1) {}
  template <class T>
  ops::routing<T> with(plait::matrix_view<T> weight) {
    std::int64_t const n = weight.rows();
    return {{expert.data(), n, moe.top_k},
            weight,
            {place.data(), n, moe.top_k},
            token.data(),
            first.data(),
            moe.num_experts};
  }
};

constexpr auto route = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  return op(matrix<T>(n, moe.top_k), cost(n, 5 * moe.num_experts, moe.num_experts + 4 * moe.top_k),
            [lists = routing_lists(n), logits = matrix<T>(n, moe.num_experts, 1)](
                Exec& exec, plait::matrix_view<T> weight) mutable {
              ops::route(exec, logits.read(), lists.with(weight),
                         plait::router_weights::as_they_are);
            });
};

constexpr auto experts = []<class Exec>(Exec& exec, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  auto lists = std::make_shared<routing_lists>(n);
  matrix<T> weight(n, moe.top_k);
  matrix<T> const logits(n, moe.num_experts, 1);
  auto const make_lists = [&] {
    ops::route(exec, logits.read(), lists->with(weight.view()), plait::router_weights::as_they_are);
  };
  exec.workspace.reserve(exec.workspace.measure(make_lists));
  make_lists();
  double reached = 0;
  for (std::int64_t e = 0; e < moe.num_experts; ++e)
    reached += lists->first[e + 1] > lists->first[e];
  return op(matrix<T>(n, d_model),
            cost(n, moe.top_k * (6.0 * d_model * moe.d_ff + 5.0 * moe.d_ff + 2.0 * d_model),
                 2 * d_model, 3.0 * d_model * moe.d_ff * reached),
            [lists, weight = std::move(weight), x = matrix<T>(n, d_model, 2),
             w = weights_of<moe, Exec>()](Exec& on, plait::matrix_view<T> y) mutable {
              ops::experts(on, x.read(), lists->with(weight.view()), w->template get<"gate_proj">(),
                           w->template get<"up_proj">(), w->template get<"down_proj">(), y);
            });
};

constexpr auto gather_rows = []<class Exec>(Exec&, std::int64_t n, std::int64_t) {
  using T = typename Exec::value_type;
  std::vector<std::int64_t> rows;
  for (std::int64_t t = 0; t < n; ++t) rows.push_back(t * 1237 % 4096);
  return op(matrix<T>(n, d_model), cost(n, 0, 2 * d_model),
            [rows, x = matrix<T>(4096, d_model, 1)](Exec& exec, plait::matrix_view<T> y) {
              ops::gather_rows(exec, x.read(), rows.data(), y);
            });
};

/// By default 1 to 2048 tokens on an empty sequence, in powers of two. Operands are warm.
template <class Make>
void add(char const* name, Make const& make,
         std::vector<std::int64_t> const& tokens = bench::powers_of_two(1, 2048),
         std::vector<std::int64_t> const& context = {0}) {
  plait::bench::register_op(name, make,
                            {.tokens = tokens,
                             .context = context,
                             .threads = bench::selected().threads,
                             .weights = plait::bench::weights::warm});
}

}  // namespace

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    add("embed", embed);
    add("add_norm", add_norm);
    add("linear/in_proj", linear<"in_proj", d_model, 2 * inner>);
    add("linear/x_proj", linear<"x_proj", inner, rank + 2 * states>);
    add("linear/out_proj", linear<"out_proj", inner, d_model>);
    add("gated_linear", gated_linear);
    add("conv_silu", conv_silu);
    add("selective_scan", selective_scan);
    add("attend", attend);
    add("attend", attend, {1}, {512, 2048, 8192});
    add("attend", attend, {512}, {2048});
    add("route", route);
    add("experts", experts);
    add("gather_rows", gather_rows);
  });
}
