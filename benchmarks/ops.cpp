// Every op alone, at the shapes it has in a hybrid of a quarter of Jamba v0.1's width
// (support.hpp).
#include "support.hpp"

namespace bench {
namespace {

namespace ops = plait::ops;
constexpr auto attention = config_1b.attention;
constexpr auto mamba = config_1b.recurrent;
constexpr auto mlp = config_1b.dense;
constexpr auto moe = config_1b.sparse;
constexpr std::int64_t inner = mamba.inner(d_model), rank = mamba.rank(d_model),
                       states = mamba.d_state;

/// What all cases share: the execution policy, and the workspace of one run.
template <class Exec>
struct basic_case {
  using T = typename Exec::value_type;
  Exec& exec;
  std::int64_t tokens;
  basic_case(Exec& e, std::int64_t t) : exec(e), tokens(t) {}
  template <class Run>
  void reserve(Run&& run) {
    exec.workspace.reserve(exec.workspace.measure(run));
  }
  double per_token(double n) const { return n * double(tokens); }
};

struct embed {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t) : basic_case<Exec>(e, n), y(n, d_model) {
      for (std::int64_t t = 0; t < n; ++t)
        ids.push_back(static_cast<std::int32_t>(plait::detail::mix(5, std::uint64_t(t)) %
                                                std::uint64_t(config_1b.vocab_size)));
    }
    void run() { ops::embed(this->exec, ids, *table, y.view()); }
    auto output() const { return y.read(); }
    double flops() const { return 0; }
    double bytes() const { return this->per_token(4.0 * 2 * d_model); }

    std::vector<std::int32_t> ids;
    matrix<T> y;
    std::shared_ptr<typename Exec::storage_type::table const> table = shared<Exec>([] {
      plait::tensor const t{.name = "embedding", .rows = config_1b.vocab_size, .cols = d_model};
      typename Exec::storage_type::table made;
      made.allocate(t);
      fill(t, made, 3);
      return made;
    });
  };
};

struct add_norm {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n), x(n, d_model, 1), y(n, d_model, 2), out(n, d_model) {
      plait::tensor const t{.name = "weight", .role = plait::role::vector, .rows = d_model};
      weight.allocate(t);
      fill(t, weight, 4);
    }
    void run() {
      ops::add_norm(this->exec, x.view(), y.read(), weight, 1e-6f, out.view());
    }  // x grows by y, a run at a time
    auto output() const { return out.read(); }
    double flops() const { return this->per_token(5.0 * d_model); }
    double bytes() const {
      return this->per_token(4.0 * 4 * d_model);
    }  // x read and written, y, out

    matrix<T> x, y, out;
    typename Exec::storage_type::template tensor<plait::role::vector> weight;
  };
};

/// One of Mamba's linear maps.
template <plait::tensor_name Name, std::int64_t In, std::int64_t Out>
struct linear {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t) : basic_case<Exec>(e, n), x(n, In, 1), y(n, Out) {
      this->reserve([&] { run(); });
    }
    void run() {
      ops::linear(this->exec, x.read(), ops::into(y.view(), weights->template get<Name>()));
    }
    auto output() const { return y.read(); }
    double flops() const { return this->per_token(2.0 * In * Out); }
    double bytes() const { return 4.0 * In * Out + this->per_token(4.0 * (In + Out)); }

    matrix<T> x, y;
    decltype(shared_weights<mamba, Exec>()) weights = shared_weights<mamba, Exec>();
  };
};

struct gated_linear {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n), x(n, d_model, 1), y(n, mlp.d_ff) {
      this->reserve([&] { run(); });
    }
    void run() {
      ops::gated_linear(this->exec, x.read(), weights->template get<"gate_proj">(),
                        weights->template get<"up_proj">(), y.view());
    }
    auto output() const { return y.read(); }
    double flops() const { return this->per_token(4.0 * d_model * mlp.d_ff + 5.0 * mlp.d_ff); }
    double bytes() const {
      return 4.0 * 2 * d_model * mlp.d_ff + this->per_token(4.0 * (d_model + mlp.d_ff));
    }

    matrix<T> x, y;
    decltype(shared_weights<mlp, Exec>()) weights = shared_weights<mlp, Exec>();
  };
};

struct conv_silu {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n),
          u(n, 2 * inner, 1),
          y(n, inner),
          sequence(n, 0, (mamba.d_conv - 1) * inner, 0) {}
    void run() {  // the state moves on: from the second run, the window is that of the last tokens
      ops::conv_silu(this->exec, sequence.view(), u.read().middle_cols(0, inner),
                     weights->template get<"conv1d">(), weights->template find<"conv1d.bias">(),
                     y.view());
    }
    auto output() const { return y.read(); }
    double flops() const { return this->per_token((2.0 * mamba.d_conv + 5) * inner); }
    double bytes() const {
      return this->per_token(4.0 * 2 * inner) + 4.0 * (3 * mamba.d_conv - 1) * inner;
    }  // u, y; taps, bias, window in and out

    matrix<T> u, y;
    one_sequence<T> sequence;
    decltype(shared_weights<mamba, Exec>()) weights = shared_weights<mamba, Exec>();
  };
};

struct selective_scan {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n),
          uz(n, 2 * inner, 1),
          dt(n, inner, 2),
          bc(n, 2 * states, 3),
          y(n, inner),
          sequence(n, 0, states * inner, 0) {}
    void run() {  // as above, the state moves on
      auto const in = uz.read();
      ops::selective_scan(this->exec, sequence.view(),
                          {in.middle_cols(0, inner), in.middle_cols(inner, inner), dt.read(),
                           bc.read().middle_cols(0, states), bc.read().middle_cols(states, states)},
                          weights->template get<"A_log">(), weights->template get<"D">(), y.view());
    }
    auto output() const { return y.read(); }
    double flops() const { return this->per_token((7.0 * states + 11) * inner); }
    double bytes() const {
      return this->per_token(4.0 * (4 * inner + 2 * states)) + 4.0 * 3 * states * inner;
    }  // u, z, dt, y, B, C; A, S in and out

    matrix<T> uz, dt, bc, y;
    one_sequence<T> sequence;
    decltype(shared_weights<mamba, Exec>()) weights = shared_weights<mamba, Exec>();
  };
};

struct attend {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    static constexpr std::int64_t dim = attention.dim(d_model), q_cols = attention.num_heads * dim,
                                  kv_cols = attention.num_kv_heads * dim;
    on(Exec& e, std::int64_t n, std::int64_t cached)
        : basic_case<Exec>(e, n),
          context(cached),
          q(n, q_cols, 1),
          k(n, kv_cols, 2),
          v(n, kv_cols, 3),
          y(n, q_cols),
          sequence(n, cached, 0, 2 * kv_cols * plait::page_tokens) {
      this->reserve([&] { run(); });
    }
    void run() {
      ops::paged_attention(
          this->exec, sequence.view(),
          {.heads = attention.num_heads, .kv_heads = attention.num_kv_heads, .dim = dim}, q.read(),
          k.read(), v.read(), y.view());
    }
    auto output() const { return y.read(); }
    double flops() const {
      return this->per_token(double(extra_flops(attention, d_model, 1)) *
                             (double(context) + 0.5 * double(this->tokens + 1)));
    }
    double bytes() const {
      return 4.0 * 2 * kv_cols * double(context) +
             this->per_token(4.0 * (2 * q_cols + 4 * kv_cols));
    }  // new k, v: read, written

    std::int64_t context;
    matrix<T> q, k, v, y;
    one_sequence<T> sequence;
  };
};

struct route {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n),
          logits(n, moe.num_experts, 1),
          expert(moe.top_k * n),
          place(moe.top_k * n),
          token(moe.top_k * n),
          first(moe.num_experts + 1),
          weight(n, moe.top_k) {
      this->reserve([&] { run(); });
    }
    ops::routing<T> plan() {
      return {{expert.data(), this->tokens, moe.top_k},
              weight.view(),
              {place.data(), this->tokens, moe.top_k},
              token.data(),
              first.data(),
              moe.num_experts};
    }
    void run() {
      ops::route(this->exec, logits.read(), plan(), plait::router_weights::as_they_are);
    }
    auto output() const { return weight.read(); }
    double flops() const { return this->per_token(5.0 * moe.num_experts); }
    double bytes() const { return this->per_token(4.0 * (moe.num_experts + 4 * moe.top_k)); }

    matrix<T> logits;
    plait::buffer<std::int32_t> expert, place, token, first;
    matrix<T> weight;
  };
};

struct experts {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n), routing(e, n, 0), x(n, d_model, 2), y(n, d_model) {
      routing.run();
      this->reserve([&] { run(); });
    }
    void run() {
      ops::experts(this->exec, x.read(), routing.plan(), weights->template get<"gate_proj">(),
                   weights->template get<"up_proj">(), weights->template get<"down_proj">(),
                   y.view());
    }
    auto output() const { return y.read(); }
    double flops() const {
      return this->per_token(moe.top_k *
                             (6.0 * d_model * moe.d_ff + 5.0 * moe.d_ff + 2.0 * d_model));
    }
    double bytes() const {
      double reached = 0;
      for (std::int64_t e = 0; e < moe.num_experts; ++e)
        reached += routing.first[e + 1] > routing.first[e];
      return 4.0 * 3 * d_model * moe.d_ff * reached + this->per_token(4.0 * 2 * d_model);
    }

    typename route::template on<Exec> routing;
    matrix<T> x, y;
    decltype(shared_weights<moe, Exec>()) weights = shared_weights<moe, Exec>();
  };
};

struct gather_rows {
  template <class Exec>
  struct on : basic_case<Exec> {
    using typename basic_case<Exec>::T;
    on(Exec& e, std::int64_t n, std::int64_t)
        : basic_case<Exec>(e, n), x(4096, d_model, 1), y(n, d_model) {
      for (std::int64_t t = 0; t < n; ++t) rows.push_back(t * 1237 % 4096);
    }
    void run() { ops::gather_rows(this->exec, x.read(), rows.data(), y.view()); }
    auto output() const { return y.read(); }
    double flops() const { return 0; }
    double bytes() const { return this->per_token(4.0 * 2 * d_model); }

    matrix<T> x, y;
    std::vector<std::int64_t> rows;
  };
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    using namespace bench;
    tokens<embed>("embed");
    tokens<add_norm>("add_norm");
    tokens<linear<"in_proj", d_model, 2 * inner>>("linear/in_proj");
    tokens<linear<"x_proj", inner, rank + 2 * states>>("linear/x_proj");
    tokens<linear<"out_proj", inner, d_model>>("linear/out_proj");
    tokens<gated_linear>("gated_linear");
    tokens<conv_silu>("conv_silu");
    tokens<selective_scan>("selective_scan");
    tokens<attend>("attend")->Args({1, 512})->Args({1, 2048})->Args({1, 8192})->Args({512, 2048});
    tokens<route>("route");
    tokens<experts>("experts");
    tokens<gather_rows>("gather_rows");
  });
}
