// The reference model: the forward pass of one sequence in double, with which tests compare every
// other implementation. It has no cache, no batch and no workspace, and records every intermediate.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/model/model_weights.hpp>
#include <plait/ops/attention/paged_attention.hpp>
#include <plait/ops/attention/rope.hpp>
#include <plait/ops/linear/gated_linear.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/ops/norm/add_norm.hpp>
#include <plait/ops/norm/inner_norms.hpp>
#include <plait/ops/routing/experts.hpp>
#include <plait/ops/rows/embed.hpp>
#include <plait/ops/selective_scan/selective_scan.hpp>
#include <plait/ops/short_conv/conv_silu.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// A row-major matrix of doubles, which owns its values.
struct reference_matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;

  reference_matrix() = default;
  reference_matrix(std::int64_t r, std::int64_t c)
      : rows(r), cols(c), values(static_cast<std::size_t>(r * c)) {}
  operator matrix_view<double>() { return {values.data(), rows, cols}; }
  operator matrix_view<double const>() const { return {values.data(), rows, cols}; }
};

/// Architecture C in double. It has the tensors of a model, and is loaded or initialized like one.
/// Equation: that of model/model.hpp, for the mixers `attention` and `mamba` and the feed-forwards
///   `mlp` and `moe`; attention and routing are implemented here, independently of the ops
/// Shapes: logits [T, vocab_size]. `record` has `"embed"`, `"layers.<i>.mixer"`, `.ffn`, `.out`,
///   `.router_logits`, `.experts`, `.expert_weights`, `"final_norm"`, and the contents of a cache
///   after the last token: `"cache.<i>.k"`, `.v` [T, kv_heads dim], `.conv` [d_conv - 1, d], `.ssm`
///   [N, d]
/// Errors: none; ids are not checked
/// Cost: 8 bytes per weight; T^2 operations in attention
/// Test: tests/unit/io/golden_test.cpp against transformers
template <auto C>
class reference_model : public model_weights<C, storage::plain<double>> {
  using base = model_weights<C, storage::plain<double>>;
  static_assert(sizeof(check<C>) > 0);
  static_assert(base::has_vocabulary,
                "plait: reference_model runs from ids to logits; for a stack of layers use "
                "model<C, exec::reference>");

 public:
  using base::base;

  /// Intermediates by name.
  using record = std::map<std::string, reference_matrix>;

  /// The logits of one sequence, and its intermediates where `intermediates` is not null.
  reference_matrix forward(std::span<std::int32_t const> ids, record* intermediates = nullptr) {
    record ignored;
    record_ = intermediates != nullptr ? intermediates : &ignored;
    std::int64_t const tokens = static_cast<std::int64_t>(ids.size());

    reference_matrix x(tokens, base::d_model);
    ops::embed(exec_, ids, base::embedding(), x);
    (*record_)["embed"] = x;
    for (int i = 0; i < plan<C>::layers; ++i) {
      layer_ = "layers." + std::to_string(i) + ".";
      cache_ = "cache." + std::to_string(i) + ".";
      base::at_layer(i, [&](auto k, auto const& w) {
        using kind = typename plan<C>::template kind<k>;
        using part = std::remove_cvref_t<decltype(w)>;
        if constexpr (part::has_mixer)
          add(x, "mixer", mix<kind::mixer>(w.mixer, norm(x, w.mixer_norm)));
        if constexpr (part::has_ffn)
          add(x, "ffn", feed_forward<kind::ffn>(w.ffn, norm(x, w.ffn_norm)));
      });
      (*record_)[layer_ + "out"] = x;
    }
    x = norm(x, base::final_norm());
    (*record_)["final_norm"] = x;
    return linear(x, base::head());
  }

 private:
  using matrix = reference_matrix;
  using tensor_type = plain_tensor<double>;

  template <class Weights>
  matrix norm(matrix x, Weights const& w) {
    matrix out(x.rows, x.cols);
    ops::add_norm(exec_, matrix_view<double>(x), {}, w.template get<"weight">(),
                  base::settings.norm_eps, out);
    return out;
  }
  matrix linear(matrix const& x, tensor_type const& weight, tensor_type const* bias = nullptr) {
    matrix y(x.rows, weight.rows());
    ops::linear(exec_, matrix_view<double const>(x),
                ops::into(matrix_view<double>(y), weight, bias));
    return y;
  }
  void add(matrix& x, char const* name, matrix const& y) {
    (*record_)[layer_ + name] = y;
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
  }
  static matrix columns(matrix const& x, std::int64_t first, std::int64_t n) {
    matrix y(x.rows, n);
    for (std::int64_t t = 0; t < x.rows; ++t)
      for (std::int64_t c = 0; c < n; ++c)
        y.values[std::size_t(t * n + c)] = x.values[std::size_t(t * x.cols + first + c)];
    return y;
  }
  /// One sequence of `tokens` tokens with an empty past and the recurrent state `s`.
  struct one_sequence {
    std::array<std::int64_t, 2> rows;
    std::int64_t length = 0;
    double* state;
    one_sequence(std::int64_t tokens, double* s) : rows{0, tokens}, state(s) {}
    operator sequences<double>() const {
      return {.count = 1, .first_row = rows.data(), .length = &length, .state = &state};
    }
  };

  // ---- mixers ----
  template <attention P, class Weights>
  matrix mix(Weights const& w, matrix const& x) {
    constexpr std::int64_t dim = P.dim(int(base::d_model));
    constexpr std::int64_t heads = P.num_heads;
    constexpr std::int64_t kv_heads = P.num_kv_heads;
    matrix q = linear(x, w.template get<"q_proj">());
    matrix& k = (*record_)[cache_ + "k"] = linear(x, w.template get<"k_proj">());
    if constexpr (P.positions == positions::rotary)
      ops::rope(exec_, one_sequence(x.rows, nullptr), dim, base::settings.rope_theta,
                std::array<matrix_view<double>, 2>{q, k});
    matrix const& v = (*record_)[cache_ + "v"] = linear(x, w.template get<"v_proj">());
    matrix out(x.rows, heads * dim);
    for (std::int64_t t = 0; t < x.rows; ++t)
      for (std::int64_t j = 0; j < heads; ++j) {
        double const* const query = q.values.data() + t * q.cols + j * dim;
        // The first column of the key-value head of query head j.
        std::int64_t const kv_col = j / (heads / kv_heads) * dim;
        std::vector<double> p(static_cast<std::size_t>(t + 1));
        double max_score = -INFINITY;
        double total = 0;
        for (std::int64_t i = 0; i <= t; ++i) {  // causal: tokens up to t
          double score = 0;
          for (std::int64_t d = 0; d < dim; ++d)
            score += query[d] * k.values[std::size_t(i * k.cols + kv_col + d)];
          p[std::size_t(i)] = score / std::sqrt(double(dim));
          max_score = std::fmax(max_score, p[std::size_t(i)]);
        }
        for (double& score : p) {
          score = std::exp(score - max_score);
          total += score;
        }
        for (std::int64_t i = 0; i <= t; ++i)
          for (std::int64_t d = 0; d < dim; ++d)
            out.values[std::size_t(t * out.cols + j * dim + d)] +=
                p[std::size_t(i)] / total * v.values[std::size_t(i * v.cols + kv_col + d)];
      }
    return linear(out, w.template get<"o_proj">());
  }

  template <mamba P, class Weights>
  matrix mix(Weights const& w, matrix const& x) {
    constexpr std::int64_t d = P.inner(int(base::d_model));
    constexpr std::int64_t R = P.rank(int(base::d_model));
    constexpr std::int64_t N = P.d_state;
    // The input first, then the gate.
    matrix const uz = linear(x, w.template get<"in_proj">(), w.template find<"in_proj.bias">());
    matrix& window = (*record_)[cache_ + "conv"] = matrix(P.d_conv - 1, d);
    matrix u(x.rows, d);
    ops::conv_silu(exec_, one_sequence(x.rows, window.values.data()), columns(uz, 0, d),
                   w.template get<"conv1d">(), w.template find<"conv1d.bias">(),
                   matrix_view<double>(u));

    matrix selected = linear(u, w.template get<"x_proj">());  // dt, B, C, each with its norm
    ops::inner_norms(exec_, matrix_view<double>(selected),
                     std::array{&w.template get<"dt_layernorm">(), &w.template get<"b_layernorm">(),
                                &w.template get<"c_layernorm">()},
                     base::settings.norm_eps);
    matrix const dt = linear(columns(selected, 0, R), w.template get<"dt_proj">(),
                             &w.template get<"dt_proj.bias">());
    matrix const z = columns(uz, d, d);
    matrix const B = columns(selected, R, N);
    matrix const C_ = columns(selected, R + N, N);
    matrix& S = (*record_)[cache_ + "ssm"] = matrix(N, d);
    ops::selective_scan(exec_, one_sequence(x.rows, S.values.data()), scan_input(u, z, dt, B, C_),
                        w.template get<"A_log">(), w.template get<"D">(), matrix_view<double>(u));
    return linear(u, w.template get<"out_proj">(), w.template find<"out_proj.bias">());
  }
  static ops::scan_input<double> scan_input(matrix const& u, matrix const& z, matrix const& dt,
                                            matrix const& B, matrix const& C_) {
    return {u, z, dt, B, C_};
  }

  // ---- feed-forwards ----
  template <mlp P, class Weights>
  matrix feed_forward(Weights const& w, matrix const& x) {
    matrix hidden(x.rows, P.d_ff);
    ops::gated_linear(exec_, matrix_view<double const>(x), w.template get<"gate_proj">(),
                      w.template get<"up_proj">(), hidden);
    return linear(hidden, w.template get<"down_proj">());
  }

  template <moe P, class Weights>
  matrix feed_forward(Weights const& w, matrix const& x) {
    matrix const logits = linear(x, w.template get<"router">());
    tensor_type const& gate = w.template get<"gate_proj">();
    tensor_type const& up = w.template get<"up_proj">();
    tensor_type const& down = w.template get<"down_proj">();
    matrix chosen(x.rows, P.top_k);
    matrix weights(x.rows, P.top_k);
    matrix y(x.rows, x.cols);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      std::vector<double> p(logits.values.begin() + t * P.num_experts,
                            logits.values.begin() + (t + 1) * P.num_experts);
      double const max_logit = *std::max_element(p.begin(), p.end());
      double total = 0;  // over all experts: the weights of the chosen do not add up to 1
      for (double& e : p) {
        e = std::exp(e - max_logit);
        total += e;
      }
      if constexpr (P.weights == router_weights::renormalised) {
        std::vector<double> sorted = p;
        std::sort(sorted.rbegin(), sorted.rend());
        total = std::accumulate(sorted.begin(), sorted.begin() + P.top_k, 0.0);
      }
      for (std::int64_t j = 0; j < P.top_k; ++j) {
        auto const best = std::max_element(p.begin(), p.end());  // the first of equals
        std::int64_t const e = best - p.begin();
        double const weight = *best / total;
        *best = -1;
        chosen.values[std::size_t(t * P.top_k + j)] = double(e);
        weights.values[std::size_t(t * P.top_k + j)] = weight;
        double const* const in = x.values.data() + t * x.cols;
        std::vector<double> hidden(static_cast<std::size_t>(P.d_ff));
        for (std::int64_t f = 0; f < P.d_ff; ++f) {
          double g = 0, u = 0;
          for (std::int64_t c = 0; c < x.cols; ++c) {
            g += in[c] * gate.row(e, f)[c];
            u += in[c] * up.row(e, f)[c];
          }
          hidden[std::size_t(f)] = ops::silu(g) * u;
        }
        for (std::int64_t c = 0; c < x.cols; ++c)
          for (std::int64_t f = 0; f < P.d_ff; ++f)
            y.values[std::size_t(t * x.cols + c)] +=
                weight * hidden[std::size_t(f)] * down.row(e, c)[f];
      }
    }
    (*record_)[layer_ + "router_logits"] = logits;
    (*record_)[layer_ + "experts"] = chosen;
    (*record_)[layer_ + "expert_weights"] = weights;
    return y;
  }

  exec::reference exec_;
  record* record_ = nullptr;
  std::string layer_, cache_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
