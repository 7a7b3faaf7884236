// Single operations and layers against float64 results of an independent implementation
// (golden/layers).
#include <plait/cpu/simd.hpp>
#include <plait/io/files/safetensors.hpp>
#include <plait/plait.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using plait::role;
using plait::io::safetensors;

/// The tensors of one case of one operation.
class golden {
 public:
  golden(char const* op, int number)
      : file_(std::string(PLAIT_GOLDEN_DIR) + "/layers/" + op + ".safetensors"),
        prefix_(std::to_string(number) + ".") {}
  bool has(std::string const& name) const { return file_.find(prefix_ + name) != nullptr; }
  std::vector<float> f32(std::string const& name) const {
    return plait::io::read<float>(file_.at(prefix_ + name));
  }
  std::vector<double> f64(std::string const& name) const {
    return plait::io::read<double>(file_.at(prefix_ + name));
  }
  std::vector<std::int64_t> i64(std::string const& name) const {
    return plait::io::read<std::int64_t>(file_.at(prefix_ + name));
  }
  std::int64_t dim(std::string const& name, std::size_t i) const {
    return file_.at(prefix_ + name).shape.at(i);
  }

  /// An input as an activation [T, features].
  template <class T>
  test::matrix<T> activation(std::string const& name) const {
    test::matrix<T> m(dim(name, 0), dim(name, 1));
    std::vector<float> const values = f32(name);
    for (std::int64_t r = 0; r < m.rows(); ++r)
      for (std::int64_t c = 0; c < m.cols(); ++c)
        m(r, c) = T(values[static_cast<std::size_t>(r * m.cols() + c)]);
    return m;
  }
  /// A weight in the storage of an execution policy, its dimensions behind the first as columns.
  template <class Exec, role Role>
  auto tensor(std::string const& name) const {
    std::vector<float> const values = f32(name);
    std::int64_t const rows = dim(name, 0);
    return test::make_tensor<typename Exec::storage_type, Role>(
        values, rows, static_cast<std::int64_t>(values.size()) / rows);
  }
  /// max|m - expected| / max|expected|
  template <class T>
  double error_of(test::matrix<T> const& m, std::string const& name) const {
    std::vector<double> const expected = f64(name);
    std::vector<double> values;
    for (std::int64_t r = 0; r < m.rows(); ++r)
      for (std::int64_t c = 0; c < m.cols(); ++c) values.push_back(double(m(r, c)));
    REQUIRE(values.size() == expected.size());
    return test::difference(values.data(), expected.data(),
                            static_cast<std::int64_t>(values.size()));
  }

 private:
  safetensors file_;
  std::string prefix_;
};

// Limits of an f32 implementation: 2e-5 of the largest output, 5e-5 of the largest state (f32
// implementations are within 1.4e-6 of these results). The reference computes in double from the
// same f32 weights and differs by the order of its sums; eps and coefficients in f32 instead of
// decimal numbers cost up to 1e-9.
template <class Exec>
inline constexpr bool exact = std::is_same_v<typename Exec::value_type, double>;
template <class Exec>
inline constexpr double output_limit = exact<Exec> ? 1e-9 : 2e-5;
template <class Exec>
inline constexpr double state_limit = exact<Exec> ? 1e-9 : 5e-5;

template <class Exec>
Exec executor() {
  if constexpr (exact<Exec>)
    return test::oracle();
  else
    return test::cpu_with(2);
}

/// A state [cols][rows] of this library from the files' [rows][cols], from column `first` on.
template <class T, class U>
void transpose_in(T* state, std::vector<U> const& values, std::int64_t rows, std::int64_t cols,
                  std::int64_t first = 0) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = first; c < cols; ++c)
      state[(c - first) * rows + r] =
          static_cast<T>(values[static_cast<std::size_t>(r * cols + c)]);
}
template <class T>
double state_error(T const* state, std::vector<double> const& values, std::int64_t rows,
                   std::int64_t cols, std::int64_t first = 0) {
  std::vector<double> expected(static_cast<std::size_t>(rows * (cols - first)));
  transpose_in(expected.data(), values, rows, cols, first);
  return test::difference(state, expected.data(), static_cast<std::int64_t>(expected.size()));
}

/// Weights by their names in the file: NAME or NAME.weight; experts.E.NAME.weight for experts.
template <auto Policy, int D, class Exec>
auto weights_of(golden const& g) {
  plait::weights<Policy, D, typename Exec::storage_type> w;
  w.allocate();
  w.for_each([&](plait::tensor const& t, auto& data) {
    for (std::int64_t copy = 0; copy < t.copies; ++copy) {
      std::string const own =
          t.role == role::expert ? "experts." + std::to_string(copy) + "." + t.name : t.name;
      std::vector<float> const values = g.f32(g.has(own) ? own : own + ".weight");
      REQUIRE(static_cast<std::int64_t>(values.size()) == t.rows * t.cols);
      for (std::int64_t r = 0; r < t.rows; ++r) data.set_row(copy, r, values.data() + r * t.cols);
    }
  });
  return w;
}

template <class Exec, int D, plait::mamba Policy>
void check_mamba(int number) {
  using T = typename Exec::value_type;
  CAPTURE(number);
  golden const g("mamba", number);
  constexpr std::int64_t d = Policy.inner(D), W = Policy.d_conv, N = Policy.d_state;
  Exec exec = executor<Exec>();
  test::matrix<T> const x = g.activation<T>("x");
  REQUIRE(x.cols() == D);
  test::matrix<T> y(x.rows(), D);
  test::ragged<T> batch({0}, plait::policies::state(Policy, D), 0);
  transpose_in(batch.state(0), g.f32("conv_state"), d, W, 1);
  transpose_in(batch.state(0) + (W - 1) * d, g.f32("ssm_state"), d, N);
  plait::layer<D, Policy>::forward(exec, weights_of<Policy, D, Exec>(g), {.norm_eps = 1e-6f},
                                   batch.with({x.rows()}), x.view(), y.view(),
                                   plait::no_observer{});
  CHECK(g.error_of(y, "y") < output_limit<Exec>);
  CHECK(state_error(batch.state(0), g.f64("conv_state_out"), d, W, 1) < state_limit<Exec>);
  CHECK(state_error(batch.state(0) + (W - 1) * d, g.f64("ssm_state_out"), d, N) <
        state_limit<Exec>);
  CHECK(batch.intact());
}

template <class Exec, int D, plait::attention Policy>
void check_attention(int number) {
  using T = typename Exec::value_type;
  CAPTURE(number);
  golden const g("attention", number);
  constexpr std::int64_t heads = Policy.num_kv_heads, dim = Policy.dim(D);
  Exec exec = executor<Exec>();
  test::matrix<T> const x = g.activation<T>("x");
  REQUIRE(x.cols() == D);
  test::matrix<T> y(x.rows(), D);
  std::int64_t const past = g.has("past_k") ? g.dim("past_k", 1) : 0, all = past + x.rows();
  REQUIRE(all <= plait::page_tokens);
  test::ragged<T> batch({past}, 0, plait::policies::kv(Policy, D) * plait::page_tokens);
  plait::sequences<T> const seqs = batch.with({x.rows()});
  plait::page_layout const at{heads, dim};
  auto const for_each_value = [&](std::int64_t tokens, auto const& visit) {
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t i = 0; i < dim; ++i)
          visit(static_cast<std::size_t>((h * tokens + t) * dim + i), at.key(h, i, t),
                at.value(h, t, i));
  };
  if (past > 0) {
    std::vector<float> const k = g.f32("past_k"), v = g.f32("past_v");
    for_each_value(past, [&](std::size_t i, std::int64_t key, std::int64_t value) {
      batch.page(0, 0)[key] = T(k[i]);
      batch.page(0, 0)[value] = T(v[i]);
    });
  }
  plait::layer<D, Policy>::forward(exec, weights_of<Policy, D, Exec>(g), {}, seqs, x.view(),
                                   y.view(), plait::no_observer{});
  CHECK(g.error_of(y, "y") < output_limit<Exec>);
  std::vector<T> k, v;
  for_each_value(all, [&](std::size_t, std::int64_t key, std::int64_t value) {
    k.push_back(batch.page(0, 0)[key]);
    v.push_back(batch.page(0, 0)[value]);
  });
  REQUIRE(k.size() == g.f64("k_out").size());
  CHECK(test::difference(k.data(), g.f64("k_out").data(), static_cast<std::int64_t>(k.size())) <
        state_limit<Exec>);
  CHECK(test::difference(v.data(), g.f64("v_out").data(), static_cast<std::int64_t>(v.size())) <
        state_limit<Exec>);
}

template <class Exec, int D, auto Policy>
void check_ffn(char const* op, int number) {
  using T = typename Exec::value_type;
  CAPTURE(number);
  golden const g(op, number);
  Exec exec = executor<Exec>();
  test::matrix<T> const x = g.activation<T>("x");
  REQUIRE(x.cols() == D);
  test::matrix<T> y(x.rows(), D);
  int seen = 0;
  plait::layer<D, Policy>::forward(
      exec, weights_of<Policy, D, Exec>(g), {}, x.view(), y.view(),
      [&](std::string const& name, auto const& m) {
        ++seen;
        std::vector<double> values;
        for (std::int64_t t = 0; t < m.rows(); ++t)
          for (std::int64_t c = 0; c < m.cols(); ++c) values.push_back(double(m(t, c)));
        if (name == "experts") {
          std::vector<std::int64_t> const expected = g.i64("experts");
          CHECK(std::equal(values.begin(), values.end(), expected.begin(), expected.end()));
        } else {
          CHECK(test::difference(values.data(), g.f64(name).data(),
                                 static_cast<std::int64_t>(values.size())) < output_limit<Exec>);
        }
      });
  CHECK(seen == (std::is_same_v<std::remove_const_t<decltype(Policy)>, plait::moe> ? 3 : 0));
  CHECK(g.error_of(y, "y") < output_limit<Exec>);
}

}  // namespace

TEST_CASE_TEMPLATE("golden: rmsnorm", Exec, test::cpu, test::reference) {
  using T = typename Exec::value_type;
  float const eps[] = {1e-6f, 1e-5f, 1e-6f, 1e-6f};
  for (int number = 0; number < 4; ++number) {
    CAPTURE(number);
    golden const g("rmsnorm", number);
    Exec exec = executor<Exec>();
    test::matrix<T> x = g.activation<T>("x"), y(x.rows(), x.cols());
    auto const weight = g.tensor<Exec, role::vector>("weight");
    plait::ops::add_norm(exec, x.view(), plait::matrix_view<T>(), weight, eps[number], y.view());
    // eps is the float 1e-6 here and the decimal number there, 3e-8 of it apart; in case 2 the
    // inputs' squares are about eps.
    CHECK(g.error_of(y, "y") < (exact<Exec> ? 5e-8 : 2e-6));
  }
}

TEST_CASE("golden: activations, of extreme arguments too") {
  golden const g("activation", 0);
  std::vector<float> const x = g.f32("x");
  std::vector<double> const silu = g.f64("silu"), softplus = g.f64("softplus");
  double worst_silu = 0, worst_softplus = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    float const s = Eigen::internal::pfirst(plait::simd::silu(plait::simd::set(x[i]))),
                p = Eigen::internal::pfirst(plait::simd::softplus(plait::simd::set(x[i])));
    // Relative, but for results near 0: the exp is clamped, so that silu(-1000) is -4e-36.
    worst_silu =
        std::max(worst_silu, std::fabs(double{s} - silu[i]) / (std::fabs(silu[i]) + 1e-28));
    worst_softplus = std::max(
        worst_softplus, std::fabs(double{p} - softplus[i]) / (std::fabs(softplus[i]) + 1e-28));
    CHECK(std::fabs(plait::ops::silu(double{x[i]}) - silu[i]) <= 1e-15 * std::fabs(silu[i]));
    CHECK(std::fabs(plait::ops::softplus(double{x[i]}) - softplus[i]) <=
          1e-15 * std::fabs(softplus[i]));
  }
  CHECK(worst_silu < 3e-7);
  CHECK(worst_softplus < 3e-7);
}

TEST_CASE_TEMPLATE("golden: conv1d", Exec, test::cpu, test::reference) {
  using T = typename Exec::value_type;
  for (int number = 0; number < 4; ++number) {
    CAPTURE(number);
    golden const g("conv1d", number);
    Exec exec = executor<Exec>();
    test::matrix<T> const x = g.activation<T>("x");
    test::matrix<T> y(x.rows(), x.cols());
    std::int64_t const d = x.cols(), W = g.dim("weight", 2);
    test::ragged<T> batch({0}, d * (W - 1), 0);
    transpose_in(batch.state(0), g.f32("state"), d, W, 1);
    auto const taps = g.tensor<Exec, role::vector>("weight");
    auto const bias = g.has("bias") ? g.tensor<Exec, role::vector>("bias")
                                    : g.tensor<Exec, role::vector>("weight");
    plait::ops::conv_silu(exec, batch.with({x.rows()}), x.view(), taps,
                          g.has("bias") ? &bias : nullptr, y.view());
    CHECK(g.error_of(y, "y_silu") < output_limit<Exec>);
    CHECK(state_error(batch.state(0), g.f64("state_out"), d, W, 1) == 0);
  }
}

TEST_CASE_TEMPLATE("golden: scan", Exec, test::cpu, test::reference) {
  using T = typename Exec::value_type;
  for (int number = 0; number < 5; ++number) {
    CAPTURE(number);
    golden const g("scan", number);
    Exec exec = executor<Exec>();
    test::matrix<T> const u = g.activation<T>("u"), z = g.activation<T>("z"),
                          B = g.activation<T>("B"), C = g.activation<T>("C");
    test::matrix<T> dt = g.activation<T>("dt_raw"), y(u.rows(), u.cols());
    std::vector<float> const bias = g.f32("dt_bias");
    for (std::int64_t t = 0; t < dt.rows(); ++t)
      for (std::int64_t c = 0; c < dt.cols(); ++c) dt(t, c) += T(bias[static_cast<std::size_t>(c)]);
    std::int64_t const d = u.cols(), N = B.cols();
    test::ragged<T> batch({0}, d * N, 0);
    transpose_in(batch.state(0), g.f32("h"), d, N);
    plait::ops::selective_scan(
        exec, batch.with({u.rows()}), {u.view(), z.view(), dt.view(), B.view(), C.view()},
        g.tensor<Exec, role::state>("A_log"), g.tensor<Exec, role::vector>("D"), y.view());
    CHECK(g.error_of(y, "y_gated") < output_limit<Exec>);
    CHECK(state_error(batch.state(0), g.f64("h_out"), d, N) < state_limit<Exec>);
  }
}

TEST_CASE_TEMPLATE("golden: mamba", Exec, test::cpu, test::reference) {
  check_mamba<Exec, 32, plait::mamba{}>(0);
  check_mamba<Exec, 24, plait::mamba{.d_state = 8, .d_conv = 3, .dt_rank = 5}>(1);
  check_mamba<Exec, 24, plait::mamba{.dt_rank = 3, .conv_bias = false, .proj_bias = true}>(2);
}

TEST_CASE_TEMPLATE("golden: attention", Exec, test::cpu, test::reference) {
  check_attention<Exec, 32, plait::attention{.num_heads = 4, .num_kv_heads = 2}>(0);
  check_attention<Exec, 48, plait::attention{.num_heads = 3, .num_kv_heads = 1}>(1);
  check_attention<Exec, 30, plait::attention{.num_heads = 5, .num_kv_heads = 5}>(2);
}

TEST_CASE_TEMPLATE("golden: mlp", Exec, test::cpu, test::reference) {
  check_ffn<Exec, 32, plait::mlp{.d_ff = 80}>("mlp", 0);
  check_ffn<Exec, 21, plait::mlp{.d_ff = 37}>("mlp", 1);
}

TEST_CASE_TEMPLATE("golden: moe", Exec, test::cpu, test::reference) {
  check_ffn<Exec, 32, plait::moe{.d_ff = 48, .num_experts = 4, .top_k = 2}>("moe", 0);
  check_ffn<Exec, 21, plait::moe{.d_ff = 19, .num_experts = 16, .top_k = 2}>("moe", 1);
}
