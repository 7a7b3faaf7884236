// selective_ssm on a device: the launch for one token a sequence, and the ops one by one, against
// the double reference.
#include <plait/ops/selective_scan/selective_ssm_gpu.hpp>

#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::role;

namespace {

template <class Device, role Role>
struct both {
  decltype(test::make_device_tensor<Device, Role>({}, 0)) ours;
  plait::plain_tensor<double> theirs;
  both(std::vector<float> const& values, std::int64_t rows, std::int64_t cols = 1)
      : ours(test::make_device_tensor<Device, Role>(values, rows, cols)),
        theirs(ours_in_double(rows, cols)) {}

 private:
  plait::plain_tensor<double> ours_in_double(std::int64_t rows, std::int64_t cols) const {
    std::vector<float> values(static_cast<std::size_t>(rows * cols));
    for (std::int64_t r = 0; r < rows; ++r) ours.get_row(0, r, values.data() + r * cols);
    return test::make_tensor<test::reference::storage_type, Role>(values, rows, cols);
  }
};

/// Sequence i has tokens[i] tokens, on top of a random state.
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
  test::device_memory::buffer<float> there(std::int64_t(state.size()));
  test::device_memory::copy_in(std::as_const(state).data(), std::int64_t(state.size()),
                               there.data());
  std::vector<float*> states;
  std::vector<double*> expected_states;
  for (std::int64_t s = 0; s < count; ++s) {
    states.push_back(there.data() + s * (d * n + around));
    expected_states.push_back(expected_state.data() + s * (d * n + around));
  }
  plait::sequences<T> const here{.count = count,
                                 .first_row = first_row.data(),
                                 .length = length.data(),
                                 .state = states.data(),
                                 .state_offset = 5};
  plait::sequences<double> const reference{.count = count,
                                           .first_row = first_row.data(),
                                           .length = length.data(),
                                           .state = expected_states.data(),
                                           .state_offset = 5};
  auto const staged = exec.stage(plait::call_inputs<T>{.seqs = here}).seqs;

  auto const u = test::rounded<T>(test::random_matrix(random, rows, d)),
             z = test::rounded<T>(test::random_matrix(random, rows, d, -2, 2)),
             selected = test::rounded<T>(test::random_matrix(random, rows, rank + 2 * n));
  test::device_matrix_of<T> du(u), dz(z), ds(selected);
  test::matrix<double> ru(u), rz(z), rs(selected);
  plait::ops::selective_ssm(exec, staged, {du.const_view(), dz.const_view(), ds.view()},
                            plait::ops::ssm_weights(dt_norm.ours, b_norm.ours, c_norm.ours,
                                                    dt_proj.ours, bias.ours, a_log.ours, skip.ours),
                            1e-6f, du.view());
  plait::ops::selective_ssm(
      oracle, reference, {std::as_const(ru).view(), std::as_const(rz).view(), rs.view()},
      plait::ops::ssm_weights(dt_norm.theirs, b_norm.theirs, c_norm.theirs, dt_proj.theirs,
                              bias.theirs, a_log.theirs, skip.theirs),
      1e-6f, ru.view());
  bool const at_once =
      std::all_of(tokens.begin(), tokens.end(), [](std::int64_t t) { return t <= 1; });
  CHECK((exec.runtime.launches.size() == 1) == (at_once && rank <= 512 && n <= 64));
  CHECK(test::difference(du.values(), ru, 1) < tolerance);
  CHECK(du.intact());
  test::device_memory::copy_out(std::as_const(there).data(), std::int64_t(state.size()),
                                state.data());
  CHECK(test::difference(state.data(), expected_state.data(), std::int64_t(state.size()), 1) <
        tolerance);
}

}  // namespace

// In f32 a few roundings of sums of rank and N terms. In bf16 dt, up to 8 here, is rounded twice
// (2^-9 each) before its softplus, B and C once: 2 % of the largest value holds.
TEST_CASE("selective_ssm: one token a sequence, and more") {
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
  check<plait::bf16>(17, 5, 65, {1, 1}, 2e-2, 8);   // more states than the kernel takes: by parts
  check<plait::bf16>(17, 513, 3, {1, 1}, 2e-2, 9);  // more columns
}
