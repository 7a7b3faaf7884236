// A small model that is often used to explain Jamba, and all of whose parts differ from the
// released one: LayerNorm with bias, attention with biases and without a causal mask, a depthwise
// convolution over the next token, too, in the place of Mamba, feed-forwards of two matrices,
// experts with biases. This file defines these parts in its own namespace, composes them like
// plait's parts, and compares the results with PyTorch's (tests/golden/scripts/gen_sketch.py).
//
//   sketch [DIR]    DIR holds model.safetensors and golden.safetensors
#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace sketch {

using plait::layer_settings;
using plait::matrix_view;
using plait::role;
using plait::sequences;
using plait::tensor;
using std::type_identity_t;

template <class T>
T silu(T x) {
  return x / (1 + std::exp(-x));
}

// ---- the norm
struct layer_norm {
  friend constexpr bool operator==(layer_norm const&, layer_norm const&) = default;
};
template <class Visit>
constexpr void describe(layer_norm const&, int d_model, Visit&& visit) {
  visit(tensor{
      .name = "weight", .role = role::vector, .rows = d_model, .start = plait::initial::one});
  visit(
      tensor{.name = "bias", .role = role::vector, .rows = d_model, .start = plait::initial::zero});
}

template <int D, layer_norm>
struct layer_norm_layer {
  template <class Exec, class Weights, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const& s,
                      matrix_view<type_identity_t<T>> x, matrix_view<type_identity_t<T> const> y,
                      matrix_view<type_identity_t<T>> out) {
    if (!y.empty()) plait::ops::add_residual(exec, x, y);
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      T mean = 0, variance = 0;
      for (std::int64_t c = 0; c < D; ++c) mean += x(t, c) / D;
      for (std::int64_t c = 0; c < D; ++c) variance += (x(t, c) - mean) * (x(t, c) - mean) / D;
      T const scale = 1 / std::sqrt(variance + T(s.norm_eps));
      for (std::int64_t c = 0; c < D; ++c)
        out(t, c) =
            (x(t, c) - mean) * scale * w.template get<"weight">()(c) + w.template get<"bias">()(c);
    });
  }
};

// ---- the mixers
/// Every token attends to all tokens of its sequence, later ones too: a sequence is one call.
struct attention {
  int num_heads = 0;
  friend constexpr bool operator==(attention const&, attention const&) = default;
};
template <class Visit>
constexpr void describe(attention const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "in_proj.weight", .rows = 3 * d_model, .cols = d_model});
  visit(tensor{.name = "in_proj.bias", .role = role::vector, .rows = 3 * d_model});
  visit(tensor{.name = "out_proj.weight", .rows = d_model, .cols = d_model});
  visit(tensor{.name = "out_proj.bias", .role = role::vector, .rows = d_model});
}

template <int D, attention P>
struct attention_layer {
  PLAIT_RULE(num_heads, P.num_heads > 0 && D % P.num_heads == 0,
             "sketch: attention needs num_heads, a divisor of d_model");
  static constexpr plait::continuation continues = plait::continuation::none;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&, sequences<T> const& seqs,
                      matrix_view<type_identity_t<T> const> x, matrix_view<type_identity_t<T>> y,
                      Observer&&) {
    constexpr std::int64_t dim = D / P.num_heads;
    plait::arena::frame const scratch(exec.workspace);
    auto const qkv = exec.template matrix<T>(x.rows(), 3 * D),
               mixed = exec.template matrix<T>(x.rows(), D);
    auto const scores = exec.template matrix<T>(exec.threads(), x.rows());
    plait::ops::linear(exec, x,
                       plait::ops::into(qkv, w.template get<"in_proj.weight">(),
                                        &w.template get<"in_proj.bias">()));
    exec.parallel(seqs.count * P.num_heads, [&](std::int64_t item, int thread) {
      std::int64_t const first = seqs.first_row[item / P.num_heads],
                         end = seqs.first_row[item / P.num_heads + 1];
      std::int64_t const head = item % P.num_heads * dim;
      T* const p = scores.row(thread) - first;
      for (std::int64_t t = first; t < end; ++t) {
        T max = -INFINITY, total = 0;
        for (std::int64_t i = first; i < end; ++i) {
          T dot = 0;
          for (std::int64_t d = 0; d < dim; ++d) dot += qkv(t, head + d) * qkv(i, D + head + d);
          p[i] = dot / std::sqrt(T(dim));
          max = std::max(max, p[i]);
        }
        for (std::int64_t i = first; i < end; ++i) {
          p[i] = std::exp(p[i] - max);
          total += p[i];
        }
        for (std::int64_t d = 0; d < dim; ++d) {
          T sum = 0;
          for (std::int64_t i = first; i < end; ++i) sum += p[i] * qkv(i, 2 * D + head + d);
          mixed(t, head + d) = sum / total;
        }
      }
    });
    plait::ops::linear(exec, mixed,
                       plait::ops::into(y, w.template get<"out_proj.weight">(),
                                        &w.template get<"out_proj.bias">()));
  }
};

/// In the place of Mamba, without a state: each channel is convolved over the previous token, this
/// one and the next.
struct convolution {
  int kernel = 3;
  friend constexpr bool operator==(convolution const&, convolution const&) = default;
};
template <class Visit>
constexpr void describe(convolution const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .cols = p.kernel});
  visit(tensor{.name = "bias", .role = role::vector, .rows = d_model});
}

template <int D, convolution P>
struct convolution_layer {
  PLAIT_RULE(kernel, P.kernel > 0 && P.kernel % 2 == 1, "sketch: convolution needs an odd kernel");
  static constexpr plait::continuation continues = plait::continuation::none;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&, sequences<T> const& seqs,
                      matrix_view<type_identity_t<T> const> x, matrix_view<type_identity_t<T>> y,
                      Observer&&) {
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      std::int64_t const first = seqs.first_row[s], end = seqs.first_row[s + 1];
      for (std::int64_t t = first; t < end; ++t)
        for (std::int64_t c = 0; c < D; ++c) {
          T sum = w.template get<"bias">()(c);
          for (std::int64_t k = 0; k < P.kernel; ++k)
            if (std::int64_t const from = t + k - P.kernel / 2; from >= first && from < end)
              sum += w.template get<"weight">()(c, k) * x(from, c);
          y(t, c) = sum;
        }
    });
  }
};

// ---- the feed-forwards
/// y = down silu(up x + bias) + bias: two matrices, no gate.
struct mlp {
  int d_ff = 0;
  friend constexpr bool operator==(mlp const&, mlp const&) = default;
};
template <class Visit>
constexpr void describe(mlp const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "up.weight", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "up.bias", .role = role::vector, .rows = p.d_ff});
  visit(tensor{.name = "down.weight", .rows = d_model, .cols = p.d_ff});
  visit(tensor{.name = "down.bias", .role = role::vector, .rows = d_model});
}

template <int D, mlp P>
struct mlp_layer {
  PLAIT_RULE(d_ff, P.d_ff > 0, "sketch: mlp needs d_ff");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&,
                      matrix_view<type_identity_t<T> const> x, matrix_view<type_identity_t<T>> y,
                      Observer&&) {
    plait::arena::frame const scratch(exec.workspace);
    auto const hidden = exec.template matrix<T>(x.rows(), P.d_ff);
    plait::ops::linear(
        exec, x,
        plait::ops::into(hidden, w.template get<"up.weight">(), &w.template get<"up.bias">()));
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (std::int64_t f = 0; f < P.d_ff; ++f) hidden(t, f) = silu(hidden(t, f));
    });
    plait::ops::linear(
        exec, hidden,
        plait::ops::into(y, w.template get<"down.weight">(), &w.template get<"down.bias">()));
  }
};

/// num_experts feed-forwards of that form, a router with bias; softmax over all experts, the top_k
/// largest weights, not renormalised. plait's `route` chooses. Its `experts` has neither biases nor
/// experts of two matrices: these are plain loops here, which every storage allows.
struct moe {
  int d_ff = 0, num_experts = 0, top_k = 0;
  friend constexpr bool operator==(moe const&, moe const&) = default;
};
template <class Visit>
constexpr void describe(moe const& p, int d_model, Visit&& visit) {
  visit(tensor{
      .name = "router.weight", .role = role::router, .rows = p.num_experts, .cols = d_model});
  visit(tensor{.name = "router.bias", .role = role::vector, .rows = p.num_experts});
  visit(tensor{.name = "up.weight",
               .role = role::expert,
               .rows = p.d_ff,
               .cols = d_model,
               .copies = p.num_experts});
  visit(tensor{.name = "up.bias", .role = role::vector, .rows = p.num_experts, .cols = p.d_ff});
  visit(tensor{.name = "down.weight",
               .role = role::expert,
               .rows = d_model,
               .cols = p.d_ff,
               .copies = p.num_experts});
  visit(tensor{.name = "down.bias", .role = role::vector, .rows = p.num_experts, .cols = d_model});
}

template <int D, moe P>
struct moe_layer {
  PLAIT_RULE(d_ff, P.d_ff > 0, "sketch: moe needs d_ff");
  PLAIT_RULE(top_k, P.top_k > 0 && P.top_k <= P.num_experts,
             "sketch: moe needs top_k, from 1 to num_experts");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&,
                      matrix_view<type_identity_t<T> const> x, matrix_view<type_identity_t<T>> y,
                      Observer&& see) {
    plait::arena::frame const scratch(exec.workspace);
    auto const logits = exec.template matrix<T>(x.rows(), P.num_experts),
               hidden = exec.template matrix<T>(exec.threads(), P.d_ff);
    auto const plan = plait::ops::make_routing(exec, x.rows(), P.num_experts, P.top_k);
    plait::ops::linear(exec, x,
                       plait::ops::into(logits, w.template get<"router.weight">(),
                                        &w.template get<"router.bias">()));
    plait::ops::route(exec, logits, plan, plait::router_weights::as_they_are);
    see("experts", matrix_view<std::int32_t const>(plan.expert));
    exec.parallel(x.rows(), [&](std::int64_t t, int thread) {
      T* const h = hidden.row(thread);
      for (std::int64_t c = 0; c < D; ++c) y(t, c) = 0;
      for (std::int64_t j = 0; j < P.top_k; ++j) {
        std::int64_t const e = plan.expert(t, j);
        for (std::int64_t f = 0; f < P.d_ff; ++f) {
          T sum = w.template get<"up.bias">()(e, f);
          for (std::int64_t c = 0; c < D; ++c)
            sum += T(w.template get<"up.weight">().at(e, f, c)) * x(t, c);
          h[f] = silu(sum);
        }
        for (std::int64_t c = 0; c < D; ++c) {
          T sum = w.template get<"down.bias">()(e, c);
          for (std::int64_t f = 0; f < P.d_ff; ++f)
            sum += T(w.template get<"down.weight">().at(e, c, f)) * h[f];
          y(t, c) += plan.weight(t, j) * sum;
        }
      }
    });
  }
};

}  // namespace sketch

template <>
struct plait::layer_of<sketch::layer_norm> {
  template <int D, sketch::layer_norm P>
  using bind = sketch::layer_norm_layer<D, P>;
};
template <>
struct plait::layer_of<sketch::attention> {
  template <int D, sketch::attention P>
  using bind = sketch::attention_layer<D, P>;
};
template <>
struct plait::layer_of<sketch::convolution> {
  template <int D, sketch::convolution P>
  using bind = sketch::convolution_layer<D, P>;
};
template <>
struct plait::layer_of<sketch::mlp> {
  template <int D, sketch::mlp P>
  using bind = sketch::mlp_layer<D, P>;
};
template <>
struct plait::layer_of<sketch::moe> {
  template <int D, sketch::moe P>
  using bind = sketch::moe_layer<D, P>;
};

namespace sketch {

/// One block of 8 layers: attention at layer 0, experts at odd layers; embeddings in, the residual
/// stream out.
inline constexpr plait::hybrid<attention, convolution, mlp, moe, plait::interleave, layer_norm>
    config{.d_model = 64,
           .vocab_size = plait::no_vocabulary,
           .layers = {.blocks = 1,
                      .layers_per_block = 8,
                      .attend = 1,
                      .recur = 7,
                      .moe_every = 2,
                      .attend_offset = 0},
           .attention = {.num_heads = 4},
           .dense = {.d_ff = 256},
           .sparse = {.d_ff = 256, .num_experts = 16, .top_k = 2},
           .norm_eps = 1e-5f};
static_assert(plait::count(config).total_parameters == 2'274'624);

/// Loads the weights by the file's names. The experts' matrices, 8 MB, are not in the file: a
/// generator makes them (tests/golden/README.md).
template <class Model>
void load(Model& model, plait::io::safetensors const& file) {
  plait::detail::splitmix64 random{2024};
  model.for_each_tensor([&](int layer, std::string const& part, tensor const& t, auto& data) {
    if (t.role == role::expert) return;  // below
    std::string const name = t.name;
    std::string const mixer = layer == 0 ? "attention." : "conv.";
    std::string const ffn = layer % 2 == 0 ? "mlp." : "moe.";
    std::string const prefix = part == "mixer_norm" ? "norm1."
                               : part == "ffn_norm" ? "norm2."
                               : part == "mixer"    ? mixer
                                                    : ffn;
    bool const of_experts = prefix == "moe." && !name.starts_with("router");
    std::vector<float> row(static_cast<std::size_t>(t.cols));
    for (std::int64_t r = 0; r < t.rows; ++r) {
      std::string const at = "layers." + std::to_string(layer) + "." + prefix;
      if (of_experts)
        plait::io::widen(file.at(at + "experts." + std::to_string(r) + "." + name), 0, row);
      else
        plait::io::widen(file.at(at + name), r * t.cols, row);
      data.set_row(0, r, row.data());
    }
  });
  // The generator's order: expert by expert, up before down.
  for (int layer = 1; layer < config.num_layers(); layer += 2)
    for (std::int64_t e = 0; e < config.sparse.num_experts; ++e)
      for (std::string const& name : {std::string("up.weight"), std::string("down.weight")})
        model.for_each_tensor([&](int i, std::string const&, tensor const& t, auto& data) {
          if (i != layer || t.role != role::expert || name != t.name) return;
          std::vector<float> row(static_cast<std::size_t>(t.cols));
          for (std::int64_t r = 0; r < t.rows; ++r) {
            for (float& x : row)
              x = static_cast<float>(static_cast<int>(random() % 255) - 127) / 512;
            data.set_row(e, r, row.data());
          }
        });
}

/// Runs both sequences. The largest difference from PyTorch in float64, relative to the largest
/// value; -1 where an expert differs.
template <class Exec>
double compare(std::string const& directory) {
  using model_type = plait::model<config, Exec>;
  using T = typename Exec::value_type;
  plait::io::safetensors const golden(directory + "/golden.safetensors");
  constexpr std::int64_t batch_size = 2, tokens = 32, rows = batch_size * tokens;
  std::vector<float> input(rows * config.d_model);
  plait::io::widen(golden.at("input"), 0, input);
  std::vector<T> x(input.begin(), input.end()), y(x.size());

  model_type model;
  load(model, plait::io::safetensors(directory + "/model.safetensors"));
  Exec exec;
  model.reserve(exec, rows, batch_size);
  plait::cache_pool<model_type> pool;
  std::array sequences{pool.make(), pool.make()};
  plait::batch<model_type> batch;
  for (std::int64_t s = 0; s < batch_size; ++s)
    batch.add(sequences[std::size_t(s)],
              matrix_view<T const>(x.data() + s * tokens * config.d_model, tokens, config.d_model),
              plait::rows::all);
  bool same_experts = true;
  model.forward_hidden(
      exec, batch, {y.data(), rows, config.d_model}, [&](plait::probe at, auto const& m) {
        if (std::string_view(at.name) != "experts") return;
        auto const& chosen = golden.at("layers." + std::to_string(at.layer) + ".experts");
        for (std::int64_t i = 0; i < 2 * rows; ++i) {
          std::int64_t expected = 0;
          std::memcpy(&expected, chosen.data + 8 * i, 8);
          same_experts = same_experts && static_cast<std::int64_t>(m(i / 2, i % 2)) == expected;
        }
      });
  double max_difference = 0, max_expected = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    double expected = 0;
    std::memcpy(&expected, golden.at("output_f64").data + 8 * i, 8);
    max_difference = std::max(max_difference, std::fabs(double(y[i]) - expected));
    max_expected = std::max(max_expected, std::fabs(expected));
  }
  return same_experts ? max_difference / max_expected : -1;
}

}  // namespace sketch

int main(int argc, char** argv) try {
  std::string const directory = argc > 1 ? argv[1] : PLAIT_SKETCH_DIR;
  // Eight layers of sums of up to 256 products: PyTorch in f32 differs from f64 by 1e-6. In double
  // the order of sums alone differs.
  double const f32 = sketch::compare<plait::exec::cpu<>>(directory),
               f64 = sketch::compare<plait::exec::reference>(directory);
  std::printf(
      "2 sequences of 32 tokens through 8 layers, %lld parameters; largest difference from PyTorch "
      "in float64, relative:\n"
      "  exec::cpu        %.1e\n  exec::reference  %.1e\n",
      static_cast<long long>(plait::count(sketch::config).total_parameters), f32, f64);
  bool const right = f32 >= 0 && f32 < 1e-5 && f64 >= 0 && f64 < 1e-12;
  std::printf("%s\n", right ? "the same model" : "another model");
  return right ? 0 : 1;
} catch (plait::error const& e) {
  std::fprintf(stderr, "sketch: %s\n", e.what());
  return 1;
}
