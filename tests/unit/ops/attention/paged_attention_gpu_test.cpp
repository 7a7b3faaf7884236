// paged_attention on a device: plain, by tensor cores, in splits of long contexts, by a library,
// against the double reference.
#include <plait/ops/attention/paged_attention_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

namespace {

using plait::ops::attention_shape;
using test::lengths_of_calls;

struct attend_data {
  std::vector<test::matrix<float>> q, k, v;  // one per call
};

/// Values of T.
template <class T>
attend_data inputs(test::random& random, lengths_of_calls const& lengths, attention_shape shape) {
  attend_data data;
  for (auto const& call : lengths) {
    std::int64_t const total = test::total_of(call);
    data.q.push_back(
        test::rounded<T>(test::random_matrix(random, total, shape.heads * shape.dim, -3, 3)));
    data.k.push_back(
        test::rounded<T>(test::random_matrix(random, total, shape.kv_heads * shape.dim, -3, 3)));
    data.v.push_back(
        test::rounded<T>(test::random_matrix(random, total, shape.kv_heads * shape.dim)));
  }
  return data;
}

std::vector<test::matrix<double>> reference(attention_shape shape, lengths_of_calls const& lengths,
                                            attend_data const& in) {
  auto oracle = test::oracle();
  test::ragged<double> batch(std::vector<std::int64_t>(lengths[0].size(), 0), 0,
                             2 * shape.kv_heads * shape.dim * plait::page_tokens);
  std::vector<test::matrix<double>> y;
  for (std::size_t call = 0; call < lengths.size(); ++call) {
    auto const seqs = batch.with(lengths[call]);
    test::matrix<double> const q(in.q[call]), k(in.k[call]), v(in.v[call]);
    test::matrix<double> out(q.rows(), q.cols());
    plait::ops::paged_attention(oracle, seqs, shape, q.view(), k.view(), v.view(), out.view());
    y.push_back(out);
    batch.advance();
  }
  return y;
}

template <class Device>
struct device_run {
  using T = typename Device::value_type;
  std::vector<test::matrix<float>> y;
  test::device_ragged<Device> batch;

  /// Rows are aligned to 16 bytes with a gap of 8, and unaligned with others.
  device_run(Device& exec, attention_shape shape, lengths_of_calls const& lengths,
             attend_data const& in, bool in_place, std::int64_t gap = 8)
      : batch(std::vector<std::int64_t>(lengths[0].size(), 0), 0,
              2 * shape.kv_heads * shape.dim * plait::page_tokens) {
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      auto const seqs = batch.with(exec, lengths[call]);
      test::device_matrix_of<T> q(in.q[call], gap), k(in.k[call], gap), v(in.v[call], gap),
          out(in.q[call].rows(), in.q[call].cols(), gap);
      auto& to = in_place ? q : out;
      // The workspace is measured without a context and without the sequences' lengths.
      std::vector<std::int64_t> const first{0, in.q[call].rows()};
      std::vector<std::int64_t> const length{0};
      plait::sequences<T> const unknown{
          .count = 1, .first_row = first.data(), .length = length.data()};
      exec.workspace.reserve(exec.workspace.measure([&] {
        plait::ops::paged_attention(exec, unknown, shape, q.const_view(), k.const_view(),
                                    v.const_view(), to.view());
      }));
      test::poison(exec);
      plait::ops::paged_attention(exec, seqs, shape, q.const_view(), k.const_view(), v.const_view(),
                                  to.view());
      CHECK((q.intact() && k.intact() && v.intact() && out.intact() && batch.intact()));
      y.push_back(to.values());
      batch.advance();
    }
  }
};

// f32: a score is a chain of dim roundings, of terms up to 9 / sqrt(dim): up to about 100 * 6e-8 of
// a probability; ex2 has 2 units. bf16: 2^-9 for the rounding of each weight and of the result, of
// values of at most 1.
template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 1e-5 : 6e-3;

/// With an odd seed in place, with unaligned rows.
template <plait::precision P>
void check(test::random& random, attention_shape shape, lengths_of_calls const& lengths,
           std::uint64_t seed = 1) {
  using device = test::device<P>;
  using T = typename device::value_type;
  CAPTURE(shape.heads);
  CAPTURE(shape.kv_heads);
  CAPTURE(shape.dim);
  auto const data = inputs<T>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  bool const odd = seed % 2 == 1;
  auto exec = test::device_with<P>(seed, 64);
  device_run<device> const got(exec, shape, lengths, data, odd, odd ? 9 : 8);
  for (std::size_t call = 0; call < lengths.size(); ++call) {
    CAPTURE(call);
    CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<T>);
  }
}

/// Launches of kernels whose name contains `name`.
template <class Device>
std::int64_t launched(Device const& exec, char const* name) {
  return std::count_if(exec.runtime.launches.begin(), exec.runtime.launches.end(),
                       [&](std::string const& s) { return s.find(name) != std::string::npos; });
}

constexpr plait::precision bf16_kv_f32{
    .weights = plait::dtype::bf16, .experts = plait::dtype::bf16, .kv = plait::dtype::f32};

}  // namespace

TEST_CASE("paged_attention on a device, plain: heads and widths in successive ragged calls") {
  test::random random(19);
  lengths_of_calls const lengths = {
      {3, 1, 0, 9}, {1, 60, 5, 0}, {1, 1, 1, 1}, {0, 1, 1, 0}, {0, 10, 1, 2}};
  check<plait::f32>(random, {1, 1, 1}, lengths, 1);
  check<plait::bf16>(random, {4, 2, 3}, lengths, 2);
  check<plait::f32>(random, {20, 1, 9}, {{3, 0}, {1, 5}, {1, 1}}, 3);
  check<plait::f32>(random, {3, 3, 24}, lengths, 4);
  check<bf16_kv_f32>(random, {2, 1, 16}, lengths, 5);
  // Wider than a block takes at once, in place.
  check<plait::f32>(random, {2, 1, 300}, {{3}, {1}, {66}}, 7);
  check<plait::bf16>(random, {1, 1, 264}, {{3}, {1}, {66}}, 9);
}

TEST_CASE("paged_attention on tensor cores: heads and widths in successive ragged calls") {
  test::random random(20);
  lengths_of_calls const lengths = {
      {3, 1, 0, 17}, {1, 60, 5, 0}, {1, 1, 1, 1}, {0, 1, 1, 0}, {2, 20, 1, 50}};
  std::uint64_t seed = 1;
  for (attention_shape shape : {attention_shape{1, 1, 16}, {4, 2, 40}, {3, 1, 64}})
    check<plait::bf16>(random, shape, lengths, seed++);
  for (attention_shape shape : {attention_shape{20, 1, 8}, {4, 1, 128}, {2, 2, 72}})
    check<plait::bf16>(random, shape, {{3, 0, 30}, {1, 5, 40}, {1, 1, 1}}, seed++);
  check<plait::bf16>(random, {1, 1, 256}, {{3}, {1}, {62}, {1}}, 5);
  check<plait::bf16>(random, {3, 1, 200}, {{3}, {1}, {4}}, 6);
}

TEST_CASE(
    "paged_attention on a device: lengths around a page's end, in prefill, chunks and decode") {
  test::random random(21);
  std::uint64_t seed = 1;
  for (std::int64_t n : {63, 64, 65, 128})
    for (std::int64_t m : {1, 2, 64}) {
      CAPTURE(n);
      CAPTURE(m);
      check<plait::bf16>(random, {2, 1, 16}, {{n}, {m}, {1}, {1}}, seed++);
    }
  for (std::int64_t n : {63, 64, 65}) check<plait::f32>(random, {1, 1, 4}, {{n}, {1}, {2}}, seed++);
}

TEST_CASE(
    "paged_attention on a device: long contexts in splits; the order of threads changes no bit") {
  test::random random(22);
  lengths_of_calls const lengths = {{400, 3}, {1, 1}, {3, 1}, {1, 1}, {0, 1}};
  attention_shape const shape{3, 1, 16};
  auto const data = inputs<plait::bf16_t>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  std::vector<test::matrix<float>> first;
  // Twice the same, with other orders of threads; with 40 multiprocessors the prompt is split, too.
  for (int multiprocessors : {3, 3, 40}) {
    CAPTURE(multiprocessors);
    auto exec = test::device_with<plait::bf16>(
        static_cast<std::uint64_t>(multiprocessors) + first.size(), 64);
    exec.runtime.multiprocessors = multiprocessors;
    device_run<test::device<plait::bf16>> const got(exec, shape, lengths, data,
                                                    multiprocessors == 40);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<plait::bf16_t>);
    CHECK(launched(exec, "attention_decode") == 3);
    CHECK(launched(exec, "attention_prefill") == 2);
    CHECK(launched(exec, "append_pages") == 2);  // the decode kernel writes its own keys and values
    CHECK(launched(exec, "attention_combine") == (multiprocessors == 40 ? 5 : 4));
    if (multiprocessors != 3) continue;
    if (first.empty()) first = got.y;
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::same_bits(got.y[call], first[call]));
  }
}

TEST_CASE(
    "paged_attention on a device: keys and values are stored where page_layout says; other layers' "
    "parts do not change") {
  test::random random(23);
  for (attention_shape shape : {attention_shape{4, 2, 8}, {4, 2, 5}}) {
    lengths_of_calls const lengths = {{63}, {1}, {1}, {6}};
    auto const data = inputs<plait::bf16_t>(random, lengths, shape);
    auto exec = test::device_with<plait::bf16>(1, 64);
    device_run<test::device<plait::bf16>> const run(exec, shape, lengths, data, false);
    plait::page_layout const at{shape.kv_heads, shape.dim};
    std::int64_t token = 0;
    for (std::size_t call = 0; call < lengths.size(); ++call)
      for (std::int64_t t = 0; t < lengths[call][0]; ++t, ++token) {
        auto const page = run.batch.page(0, token / plait::page_tokens);
        for (std::int64_t h = 0; h < 2; ++h)
          for (std::int64_t d = 0; d < shape.dim; ++d) {
            REQUIRE(
                static_cast<float>(page[std::size_t(at.key(h, d, token % plait::page_tokens))]) ==
                data.k[call](t, h * shape.dim + d));
            REQUIRE(
                static_cast<float>(page[std::size_t(at.value(h, token % plait::page_tokens, d))]) ==
                data.v[call](t, h * shape.dim + d));
          }
      }
  }
}

TEST_CASE(
    "paged_attention on a device: a value that is not finite reaches later queries of its sequence "
    "and heads alone") {
  lengths_of_calls const lengths = {{90, 40}, {1, 1}, {3, 1}};
  for (attention_shape shape : {attention_shape{4, 2, 8}, {4, 2, 5}})
    for (int where : {0, 1, 2, 3}) {
      CAPTURE(where);
      CAPTURE(shape.dim);
      test::random random(24);
      auto data = inputs<plait::bf16_t>(random, lengths, shape);
      std::int64_t const d = shape.dim;
      if (where == 0) data.q[0](40, d + 2) = test::nan;  // head 1
      if (where == 1) data.k[0](40, d + 2) = test::nan;  // heads 2 and 3
      if (where == 2) data.v[0](40, d + 2) = test::nan;  // column 2 of heads 2 and 3
      if (where == 3) data.v[0](40, d + 2) = -test::infinity;
      auto exec = test::device_with<plait::bf16>(static_cast<std::uint64_t>(where + 1), 64);
      device_run<test::device<plait::bf16>> const run(exec, shape, lengths, data, false);
      for (std::size_t call = 0; call < lengths.size(); ++call)
        for (std::int64_t t = 0; t < run.y[call].rows(); ++t)
          for (std::int64_t j = 0; j < 4; ++j)
            for (std::int64_t i = 0; i < d; ++i) {
              bool const later = (call == 0 ? t >= 40 && t < 90 : t < lengths[call][0]) && j >= 2;
              bool const hit = where == 0   ? call == 0 && t == 40 && j == 1
                               : where == 1 ? later
                                            : later && i == 2;
              float const y = run.y[call](t, j * d + i);
              REQUIRE((where == 3 && hit ? y == -test::infinity : std::isnan(y) == hit));
            }
    }
}

TEST_CASE("paged_attention on a device: scores of +-1e4 choose one key without overflow") {
  attention_shape const shape{2, 1, 8};
  std::int64_t const n = 100;
  test::random random(25);
  auto data = inputs<plait::bf16_t>(random, {{n}, {1}}, shape);
  for (auto* m : {&data.q, &data.k})
    for (auto& call : *m)
      for (std::int64_t t = 0; t < call.rows(); ++t)
        for (std::int64_t c = 0; c < call.cols(); ++c) call(t, c) = 0;
  for (std::size_t call : {0u, 1u})
    for (std::int64_t t = 0; t < data.q[call].rows(); ++t) {
      data.q[call](t, 0) = 28160;
      data.q[call](t, 8) = -28160;  // heads with scores 1e4 * k and -1e4 * k
      data.k[call](t, 0) = static_cast<float>((t * 37) % n) / 64 - 1;  // scores 155 apart
    }
  auto const expected = reference(shape, {{n}, {1}}, data);
  auto exec = test::device_with<plait::bf16>(1, 64);
  device_run<test::device<plait::bf16>> const run(exec, shape, {{n}, {1}}, data, false);
  for (std::size_t call : {0u, 1u}) CHECK(test::difference(run.y[call], expected[call]) < 4e-3);
}

// ---- with a library
#if !defined(__CUDACC__)
namespace {

/// An emulated device whose library has attention: a plain loop over as many whole parts of a
/// prompt as it has, where the prompt has `least` tokens or more and heads are at most `widest`.
class attending_runtime : public test::device_runtime {
 public:
  std::int64_t part = 1, least = 2, widest = 256;
  std::vector<std::int64_t> asked, done;

  std::int64_t attention(plait::exec::attention_product<plait::bf16_t> const& p) {
    asked.push_back(p.tokens);
    done.push_back(p.tokens < least || p.dim > widest ? 0 : p.tokens / part * part);
    test::device_memory::access const access;
    for (std::int64_t t = 0; t < done.back(); ++t)
      for (std::int64_t h = 0; h < p.heads; ++h) {
        std::int64_t const first = h / (p.heads / p.kv_heads) * p.dim;
        std::vector<double> weight(std::size_t(t + 1)), sum(std::size_t(p.dim));
        double max = -test::infinity, total = 0;
        for (std::int64_t i = 0; i <= t; ++i) {
          double& w = weight[std::size_t(i)] = 0;
          for (std::int64_t d = 0; d < p.dim; ++d)
            w += double(static_cast<float>(p.q[t * p.q_stride + h * p.dim + d])) *
                 double(static_cast<float>(p.k[i * p.k_stride + first + d]));
          w *= double(p.scale);
          max = std::max(max, w);
        }
        for (double& w : weight) {
          w = std::exp(w - max);
          total += w;
        }
        for (std::int64_t i = 0; i <= t; ++i)
          for (std::int64_t d = 0; d < p.dim; ++d)
            sum[std::size_t(d)] += weight[std::size_t(i)] / total *
                                   double(static_cast<float>(p.v[i * p.v_stride + first + d]));
        for (std::int64_t d = 0; d < p.dim; ++d)
          p.out[t * p.out_stride + h * p.dim + d] =
              plait::bf16_t(static_cast<float>(sum[std::size_t(d)]));
      }
    return done.back();
  }
};
template <plait::precision P>
using attending_device = plait::exec::device<P, attending_runtime>;
static_assert(attending_device<plait::bf16>::has_attention &&
              attending_device<plait::int8>::has_attention);
static_assert(!attending_device<plait::f32>::has_attention &&
              !test::device<plait::bf16>::has_attention);

/// Rows of one projection of q, k and v, as a layer on a device has them.
struct fused_rows {
  test::device_matrix_of<plait::bf16_t> all;
  attention_shape shape;
  static test::matrix<float> beside(test::matrix<float> const& q, test::matrix<float> const& k,
                                    test::matrix<float> const& v) {
    test::matrix<float> m(q.rows(), q.cols() + k.cols() + v.cols());
    for (std::int64_t r = 0; r < m.rows(); ++r)
      for (std::int64_t c = 0; c < m.cols(); ++c)
        m(r, c) = c < q.cols()              ? q(r, c)
                  : c < q.cols() + k.cols() ? k(r, c - q.cols())
                                            : v(r, c - q.cols() - k.cols());
    return m;
  }
  auto q() const { return all.const_view().middle_cols(0, shape.heads * shape.dim); }
  auto k() const {
    return all.const_view().middle_cols(shape.heads * shape.dim, shape.kv_heads * shape.dim);
  }
  auto v() const {
    return all.const_view().middle_cols((shape.heads + shape.kv_heads) * shape.dim,
                                        shape.kv_heads * shape.dim);
  }
};

}  // namespace

TEST_CASE(
    "paged_attention with a library: it takes the first tokens of a prompt without cached tokens; "
    "kernels take the rest and all later calls") {
  test::random random(26);
  // Parts, dims of every path, in place and not; calls: a prompt, then chunks and decode steps.
  struct example {
    attention_shape shape;
    std::int64_t part;
    int multiprocessors;
    bool in_place;
  };
  lengths_of_calls const lengths = {{90}, {1}, {20}, {1}};
  std::uint64_t seed = 1;
  for (example const& e : {example{{4, 2, 16}, 1, 3, true},
                           {{4, 2, 16}, 64, 3, false},
                           {{3, 1, 64}, 89, 3, true},
                           {{2, 1, 128}, 64, 40, true},
                           {{2, 2, 40}, 64, 40, false},
                           {{6, 2, 16}, 200, 3, true},
                           {{1, 1, 256}, 90, 3, true}}) {
    CAPTURE(e.shape.dim);
    CAPTURE(e.part);
    auto const data = inputs<plait::bf16_t>(random, lengths, e.shape);
    auto const expected = reference(e.shape, lengths, data);
    attending_device<plait::bf16> exec;
    exec.runtime.seed = seed++;
    exec.runtime.part = e.part;
    exec.runtime.multiprocessors = e.multiprocessors;
    device_run<attending_device<plait::bf16>> const got(exec, e.shape, lengths, data, e.in_place);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<plait::bf16_t>);
    std::int64_t const done = 90 / e.part * e.part;
    // The library is asked about the one call without cached tokens.
    CHECK(exec.runtime.asked == std::vector<std::int64_t>{90});
    CHECK(exec.runtime.done == std::vector<std::int64_t>{done});
    CHECK(launched(exec, "append_pages") == 2);
    CHECK(launched(exec, "attention_prefill") == (done == 90 ? 1 : 2));
    CHECK(launched(exec, "gather_rows") == (e.in_place && done > 0 ? 1 : 0));
  }
}

TEST_CASE("paged_attention with a library: the rest of a long prompt is split") {
  test::random random(30);
  attention_shape const shape{2, 1, 16};
  lengths_of_calls const lengths = {{700}, {1}};
  auto const data = inputs<plait::bf16_t>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  for (std::int64_t part : {512, 699}) {
    attending_device<plait::bf16> exec;
    exec.runtime.part = part;
    exec.runtime.multiprocessors = 40;
    device_run<attending_device<plait::bf16>> const got(exec, shape, lengths, data, true);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<plait::bf16_t>);
    CHECK(exec.runtime.done == std::vector<std::int64_t>{part});
    CHECK(launched(exec, "attention_combine") == 2);
  }
}

TEST_CASE(
    "paged_attention with a library: it is asked about prompts of one sequence, and may refuse") {
  test::random random(27);
  attention_shape const shape{2, 1, 16};
  auto const run = [&](lengths_of_calls const& lengths, auto const& prepare) {
    auto const data = inputs<plait::bf16_t>(random, lengths, shape);
    auto const expected = reference(shape, lengths, data);
    attending_device<plait::bf16> exec;
    exec.runtime.multiprocessors = 40;
    prepare(exec.runtime);
    device_run<attending_device<plait::bf16>> const got(exec, shape, lengths, data, true);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<plait::bf16_t>);
    return exec.runtime.done;
  };
  auto const unchanged = [](auto&) {};
  using list = std::vector<std::int64_t>;
  CHECK(run({{70}, {70}}, unchanged) == list{70});
  CHECK(run({{70}, {70}}, [](auto& r) { r.least = 71; }) == list{0});
  CHECK(run({{70}, {70}}, [](auto& r) { r.widest = 8; }) == list{0});
  CHECK(run({{1}, {70}}, unchanged) == list{});        // on top of one token
  CHECK(run({{70, 3}, {1, 1}}, unchanged) == list{});  // two sequences
  CHECK(run({{1}, {1}, {2}}, unchanged) == list{});    // a decode step is a kernel's
  CHECK(run({{2}, {3}}, unchanged) == list{2});
}

TEST_CASE("paged_attention with a library: q, k and v are read from the rows of one projection") {
  test::random random(28);
  attention_shape const shape{4, 2, 16};
  lengths_of_calls const lengths = {{90}};
  auto const data = inputs<plait::bf16_t>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  for (std::int64_t part : {1, 64}) {
    attending_device<plait::bf16> exec;
    exec.runtime.part = part;
    test::device_ragged<attending_device<plait::bf16>> batch(
        {0}, 0, 2 * shape.kv_heads * shape.dim * plait::page_tokens);
    auto const seqs = batch.with(exec, {90});
    fused_rows const rows{
        test::device_matrix_of<plait::bf16_t>(fused_rows::beside(data.q[0], data.k[0], data.v[0])),
        shape};
    test::device_matrix_of<plait::bf16_t> out(90, shape.heads * shape.dim);
    exec.workspace.reserve(exec.workspace.measure([&] {
      plait::ops::paged_attention(exec, seqs, shape, rows.q(), rows.k(), rows.v(), out.view());
    }));
    CHECK(exec.runtime.asked.empty());
    test::poison(exec);
    plait::ops::paged_attention(exec, seqs, shape, rows.q(), rows.k(), rows.v(), out.view());
    CHECK((rows.all.intact() && out.intact() && batch.intact()));
    CHECK(exec.runtime.done == std::vector<std::int64_t>{90 / part * part});
    CHECK(test::difference(out.values(), expected[0], 0.1) < tolerance<plait::bf16_t>);
  }
}
#elif defined(PLAIT_CUDNN)
TEST_CASE("paged_attention by cuDNN: a prompt of any number of tokens, in place, and later calls") {
  test::random random(29);
  attention_shape const shape{2, 1, 64};
  lengths_of_calls const lengths = {{plait::exec::cudnn_attention::least_tokens + 301}, {1}, {40}};
  auto const data = inputs<plait::bf16_t>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  for (bool enabled : {true, false}) {
    auto exec = test::device_with<plait::bf16>(1, 64);
    exec.runtime.cudnn(enabled);
    device_run<test::device<plait::bf16>> const got(exec, shape, lengths, data, true);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<plait::bf16_t>);
    if (enabled && !exec.runtime.cudnn_refusal().empty())
      MESSAGE("by kernels: " << exec.runtime.cudnn_refusal());
  }
}
#endif
