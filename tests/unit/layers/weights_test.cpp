#include <plait/cpu/packed_storage.hpp>
#include <plait/layers/weights.hpp>
#include <plait/policy.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <bit>

#include <string>

namespace {

constexpr plait::mamba with_biases{.d_state = 5, .d_conv = 3, .dt_rank = 2, .proj_bias = true};
constexpr plait::mamba without{.d_state = 5, .conv_bias = false};
constexpr plait::moe experts{.d_ff = 7, .num_experts = 3, .top_k = 1};
using packed = plait::storage::packed<>;

}  // namespace

TEST_CASE(
    "weights: a name gives a tensor of the storage's type for its role, in the described shape") {
  plait::weights<with_biases, 8, packed> w;
  CHECK(w.get<"in_proj">().rows() == 0);  // empty until allocated
  w.allocate();
  static_assert(
      std::is_same_v<decltype(w.get<"in_proj">()), plait::panel_matrix<plait::dtype::f32>&>);
  static_assert(std::is_same_v<decltype(w.get<"conv1d">()), plait::channel_tensor&>);
  static_assert(std::is_same_v<decltype(w.get<"A_log">()), plait::state_tensor&>);
  static_assert(
      std::is_same_v<decltype(std::as_const(w).get<"A_log">()), plait::state_tensor const&>);
  static_assert(
      std::is_same_v<
          decltype(plait::weights<with_biases, 8, plait::storage::plain<double>>().get<"A_log">()),
          plait::plain_tensor<double>&>);
  CHECK(w.get<"in_proj">().rows() == 32);
  CHECK(w.get<"in_proj">().cols() == 8);
  CHECK(w.get<"conv1d">().rows() == 16);
  CHECK(w.get<"conv1d">().cols() == 3);
  CHECK(w.get<"x_proj">().rows() == 12);
  CHECK(w.get<"A_log">().cols() == 5);
  plait::weights<experts, 8, packed> e;
  e.allocate();
  CHECK(e.get<"router">().copies() == 1);
  CHECK(e.get<"down_proj">().copies() == 3);
  CHECK(e.get<"down_proj">().rows() == 8);
}

TEST_CASE("weights: find gives null where a hyperparameter leaves a tensor out") {
  plait::weights<with_biases, 8, packed> with;
  plait::weights<without, 8, packed> none;
  CHECK(with.find<"in_proj.bias">() == &with.get<"in_proj.bias">());
  CHECK(with.find<"conv1d.bias">() == &with.get<"conv1d.bias">());
  CHECK(none.find<"in_proj.bias">() == nullptr);
  CHECK(none.find<"conv1d.bias">() == nullptr);
  CHECK(none.find<"dt_proj.bias">() != nullptr);
}

TEST_CASE("weights: for_each visits every tensor once, in the order of describe") {
  plait::weights<with_biases, 8, packed> w;
  w.allocate();
  std::vector<std::string> described, visited;
  describe(with_biases, 8, [&](plait::tensor const& t) { described.push_back(t.name); });
  w.for_each([&](plait::tensor const& t, auto& data) {
    visited.push_back(t.name);
    CHECK(data.rows() == t.rows);
    CHECK(data.cols() == t.cols);
  });
  CHECK(visited == described);
  CHECK(w.count == 14);
}

// Rows of several copies, panels with a tail, channels.
TEST_CASE("storage: every tensor type returns its rows bit for bit") {
  test::random random(70);
  auto const check = [&]<class Tensor>(Tensor t, std::int64_t rows, std::int64_t cols,
                                       std::int64_t copies) {
    t.allocate({.name = "t", .rows = rows, .cols = cols, .copies = copies});
    std::vector<float> const values = random.values(rows * cols * copies);
    for (std::int64_t i = rows * copies - 1; i >= 0; --i)
      t.set_row(i / rows, i % rows, values.data() + i * cols);
    std::vector<float> back(values.size());
    for (std::int64_t i = 0; i < rows * copies; ++i)
      t.get_row(i / rows, i % rows, back.data() + i * cols);
    CHECK(test::same_bits(back, values));
  };
  for (std::int64_t rows : {1, 3, 16, 17, 32, 33, 129})
    for (std::int64_t cols : {1, 4, 17}) {
      check(plait::plain_tensor<float>{}, rows, cols, 3);
      check(plait::plain_tensor<double>{}, rows, cols, 2);
      check(plait::panel_matrix<plait::dtype::f32>{}, rows, cols, 3);
      check(plait::channel_tensor{}, rows, cols, 1);
      check(plait::state_tensor{}, rows, cols, 1);
    }
}

TEST_CASE(
    "storage: a state tensor holds A log2(e), A = -exp(A_log), in blocks beside A_log; panels are "
    "padded with zeros") {
  constexpr std::int64_t block = plait::state_tensor::block, rows = block + 1, cols = 2;
  std::vector<float> a_log(static_cast<std::size_t>(rows * cols), 0.0f);
  a_log[1] = std::log(2.0f);
  a_log[2] = -1;
  a_log[3] = 3;
  a_log[5] = 0.5f;
  a_log.back() = std::bit_cast<float>(0x7fc12345u);
  auto const a = test::make_tensor<packed, plait::role::state>(a_log, rows, cols);
  double const log2e = std::log2(std::exp(1.0));
  CHECK(a.log2_decay(0)[0] == static_cast<float>(-log2e));
  CHECK(a.log2_decay(0)[block] == doctest::Approx(-2 * log2e));
  CHECK(a.log2_decay(0)[1] == doctest::Approx(-std::exp(-1) * log2e));
  CHECK(a.log2_decay(0)[block + 2] == doctest::Approx(-std::exp(0.5) * log2e));
  CHECK(a.log2_decay(block)[0] == static_cast<float>(-log2e));
  for (std::int64_t i = 1; i < block; ++i) CHECK(a.log2_decay(block)[i] == 0);
  CHECK(std::isnan(a.log2_decay(block)[block]));
  CHECK((std::bit_cast<std::uint32_t>(a.log2_decay(block)[block]) & 0x3fffffu) == 0);
  CHECK(a.column(1)[1] == 3);
  CHECK(std::bit_cast<std::uint32_t>(a.column(1)[block]) == 0x7fc12345u);
  auto const m = test::make_tensor<packed, plait::role::matrix>(std::vector<float>(3, 1.0f), 3, 1);
  for (std::int64_t i = 0; i < plait::panel_rows; ++i)
    CHECK(reinterpret_cast<float const*>(m.panel_data(0, 0))[i] == (i < 3 ? 1.0f : 0.0f));
}
