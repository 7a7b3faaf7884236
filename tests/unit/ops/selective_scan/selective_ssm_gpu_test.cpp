// selective_ssm on a device, as one launch for one token per sequence and as separate ops, against
// the double reference.
#include <plait/ops/selective_scan/selective_ssm_gpu.hpp>

#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::role;

namespace {

/// A weight on a device, and its stored values for the reference.
template <class Device, role Role>
struct both {
  decltype(test::make_device_tensor<Device, Role>({}, 0)) on_device;
  plait::plain_tensor<double> in_double;
  both(std::vector<float> const& values, std::int64_t rows, std::int64_t cols = 1)
      : on_device(test::make_device_tensor<Device, Role>(values, rows, cols)),
        in_double(test::stored<Role>(on_device)) {}
};

/// Sequence i has tokens[i] tokens and a random state.
template <plait::precision P>
void check(std::int64_t d, std::int64_t rank, std::int64_t n,
           std::vector<std::int64_t> const& tokens, double tolerance, std::uint64_t seed) {
  CAPTURE(d);
  CAPTURE(rank);
  CAPTURE(n);
  using device = test::device<P>;
  using T = typename device::value_type;
  test::random random(seed);
  auto exec = test::device_with<P>(seed);
  test::poison(exec);
  auto oracle = test::oracle();
  std::int64_t const count = std::int64_t(tokens.size());
  std::vector<std::int64_t> first_row = {0}, length(tokens.size(), 0);
  for (std::int64_t t : tokens) first_row.push_back(first_row.back() + t);
  std::int64_t const rows = first_row.back();

  both<device, role::vector> const dt_norm(random.values(rank, 0.5f, 1.5f), rank),
      b_norm(random.values(n, 0.5f, 1.5f), n), c_norm(random.values(n, 0.5f, 1.5f), n),
      bias(random.values(d, -3, 0), d), skip(random.values(d), d);
  both<device, role::matrix> const dt_proj(random.values(d * rank, -0.5f, 0.5f), d, rank);
  both<device, role::state> const a_log(random.values(d * n, -3, 2), d, n);

  constexpr std::int64_t around = 16;
  std::vector<float> state = random.values(count * (d * n + around));
  std::vector<double> expected_state(state.begin(), state.end());
  test::device_memory::buffer<float> device_state(std::int64_t(state.size()));
  test::device_memory::copy_in(std::as_const(state).data(), std::int64_t(state.size()),
                               device_state.data());
  std::vector<float*> states;
  std::vector<double*> expected_states;
  for (std::int64_t s = 0; s < count; ++s) {
    states.push_back(device_state.data() + s * (d * n + around));
    expected_states.push_back(expected_state.data() + s * (d * n + around));
  }
  plait::sequences<T> const batch{.count = count,
                                  .first_row = first_row.data(),
                                  .length = length.data(),
                                  .state = states.data(),
                                  .state_offset = 5};
  plait::sequences<double> const reference{.count = count,
                                           .first_row = first_row.data(),
                                           .length = length.data(),
                                           .state = expected_states.data(),
                                           .state_offset = 5};
  auto const staged = exec.stage(plait::call_inputs<T>{.seqs = batch}).seqs;

  auto const u = test::rounded<T>(test::random_matrix(random, rows, d)),
             z = test::rounded<T>(test::random_matrix(random, rows, d, -2, 2)),
             selected = test::rounded<T>(test::random_matrix(random, rows, rank + 2 * n));
  test::device_matrix_of<T> du(u), dz(z), ds(selected);
  test::matrix<double> ru(u), rz(z), rs(selected);
  plait::ops::selective_ssm(
      exec, staged, {du.const_view(), dz.const_view(), ds.view()},
      plait::ops::ssm_weights(dt_norm.on_device, b_norm.on_device, c_norm.on_device,
                              dt_proj.on_device, bias.on_device, a_log.on_device, skip.on_device),
      1e-6f, du.view());
  plait::ops::selective_ssm(
      oracle, reference, {std::as_const(ru).view(), std::as_const(rz).view(), rs.view()},
      plait::ops::ssm_weights(dt_norm.in_double, b_norm.in_double, c_norm.in_double,
                              dt_proj.in_double, bias.in_double, a_log.in_double, skip.in_double),
      1e-6f, ru.view());
  bool const one_launch =
      std::all_of(tokens.begin(), tokens.end(), [](std::int64_t t) { return t <= 1; });
  CHECK((exec.runtime.launches.size() == 1) == (one_launch && rank <= 512 && n <= 64));
  CHECK(test::difference(du.values(), ru, 1) < tolerance);
  CHECK(du.intact());
  test::device_memory::copy_out(std::as_const(device_state).data(), std::int64_t(state.size()),
                                state.data());
  CHECK(test::difference(state.data(), expected_state.data(), std::int64_t(state.size()), 1) <
        tolerance);
}

}  // namespace

// f32: a few roundings of sums of rank and N terms. bf16: dt, of up to 8, is rounded twice (2^-9
// each) before its softplus, B and C once: 2 % of the largest value.
TEST_CASE("selective_ssm: one token per sequence, and more") {
  for (auto const& tokens :
       std::vector<std::vector<std::int64_t>>{{1}, {1, 1, 1, 1, 1}, {0, 1, 0, 1}, {3, 0, 1}}) {
    check<plait::f32>(17, 3, 5, tokens, 1e-5, 1);
    check<plait::f32>(129, 40, 16, tokens, 1e-5, 2);
    check<plait::bf16>(1, 1, 1, tokens, 2e-2, 3);
    check<plait::bf16>(70, 33, 17, tokens, 2e-2, 4);
    check<plait::bf16>(128, 256, 16, tokens, 2e-2, 5);
    check<plait::int8>(70, 33, 17, tokens, 2e-2, 6);
    check<plait::int8>(129, 160, 16, tokens, 2e-2, 7);
  }
  // More states and more columns than the kernel takes: separate ops.
  check<plait::bf16>(17, 5, 65, {1, 1}, 2e-2, 8);
  check<plait::bf16>(17, 513, 3, {1, 1}, 2e-2, 9);
}
