// Products of plait and of oneDNN, which packs the weights in its own format, in turns:
// y [M, N] = x [M, K] W^T at the shapes of Jamba v0.1.
//
//   products_side --threads N [--turns N]
//
// Several copies of the weights take turns, so that they come from memory. Prints a line of JSON
// per product; results that differ are an error.
#include "command_line.hpp"
#include "ops.hpp"

#include <omp.h>
#include <dnnl.hpp>

namespace {

struct shape {
  char const* name;
  std::int64_t k, n;
};
constexpr shape shapes[] = {{"in_proj", 4096, 16384},   {"x_proj", 8192, 288},
                            {"dt_proj", 256, 8192},     {"out_proj", 8192, 4096},
                            {"q_proj", 4096, 4096},     {"k_proj", 4096, 1024},
                            {"gate_proj", 4096, 14336}, {"down_proj", 14336, 4096}};

template <plait::precision P>
void compare(char const* precision, shape const& s, std::int64_t m, int threads, int turns) {
  using data_type = dnnl::memory::data_type;
  using tag = dnnl::memory::format_tag;
  constexpr bool narrow = P.weights == plait::dtype::bf16;
  std::int64_t const bytes = s.k * s.n * (narrow ? 2 : 4);
  auto const copies = static_cast<std::size_t>(
      m >= 128 ? 1 : std::clamp<std::int64_t>((std::int64_t{200} << 20) / bytes, 1, 32));

  std::vector<float> w(static_cast<std::size_t>(s.k * s.n)), x(static_cast<std::size_t>(m * s.k)),
      ours(static_cast<std::size_t>(m * s.n)), theirs(ours.size());
  side::fill(w.data(), s.k * s.n, -0.02f, 0.02f, 1);
  side::fill(x.data(), m * s.k, -1, 1, 2);
  if (narrow)
    for (auto* values : {&w, &x})
      for (float& v : *values) v = plait::from_bf16(plait::to_bf16(v));

  plait::exec::cpu<P> exec(threads);
  std::vector<plait::panel_matrix<P.weights>> packed(copies);
  for (auto& matrix : packed) {
    matrix.allocate({.name = "w", .rows = s.n, .cols = s.k});
    for (std::int64_t r = 0; r < s.n; ++r) matrix.set_row(0, r, w.data() + r * s.k);
  }
  plait::matrix_view<float const> const input(x.data(), m, s.k);
  plait::matrix_view<float> const output(ours.data(), m, s.n);
  std::size_t at = 0;
  auto const plait_product = [&] {
    plait::ops::linear(exec, input, plait::ops::into(output, packed[at++ % copies]));
  };
  side::reserve(exec, plait_product);

  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  auto const type = narrow ? data_type::bf16 : data_type::f32;
  dnnl::matmul::primitive_desc const description(
      engine, dnnl::memory::desc({m, s.k}, type, tag::ab),
      dnnl::memory::desc({s.k, s.n}, type, tag::any),
      dnnl::memory::desc({m, s.n}, data_type::f32, tag::ab));
  dnnl::matmul product(description);
  dnnl::memory f32_weights({{s.k, s.n}, data_type::f32, tag::ba}, engine, w.data()),
      f32_input({{m, s.k}, data_type::f32, tag::ab}, engine, x.data());
  dnnl::memory their_input(description.src_desc(), engine),
      result(description.dst_desc(), engine, theirs.data());
  dnnl::reorder(f32_input, their_input).execute(stream, f32_input, their_input);
  std::vector<dnnl::memory> their_weights;
  for (std::size_t i = 0; i < copies; ++i) {
    their_weights.emplace_back(description.weights_desc(), engine);
    dnnl::reorder(f32_weights, their_weights.back())
        .execute(stream, f32_weights, their_weights.back());
  }
  stream.wait();
  std::size_t their_at = 0;
  auto const dnnl_product = [&] {
    product.execute(stream, {{DNNL_ARG_SRC, their_input},
                             {DNNL_ARG_WEIGHTS, their_weights[their_at++ % copies]},
                             {DNNL_ARG_DST, result}});
    stream.wait();
  };
  auto const [plait_seconds, dnnl_seconds] = side::in_turns(turns, plait_product, dnnl_product);
  double const off = side::difference(ours.data(), theirs.data(), m * s.n);
  if (!(off < 1e-4))
    throw std::runtime_error(std::string(s.name) + ": the results differ by " +
                             std::to_string(off) + " of the largest");
  double const gigaflop = 2e-9 * double(m) * double(s.k) * double(s.n);
  side::print({{"what", "product"},
               {"name", s.name},
               {"k", s.k},
               {"n", s.n},
               {"m", m},
               {"precision", precision},
               {"threads", threads},
               {"plait_gflop_s", gigaflop / plait_seconds},
               {"peer", "oneDNN"},
               {"peer_gflop_s", gigaflop / dnnl_seconds},
               {"ratio", dnnl_seconds / plait_seconds},
               {"difference", off},
               {"implementation", description.impl_info_str()}});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("products of plait and oneDNN in turns", "products_side");
  int threads = 1;
  int turns = 9;
  app.add_option("--threads", threads);
  app.add_option("--turns", turns);
  return side::main(app, argc, argv, [&] {
    omp_set_num_threads(threads);
    for (shape const& s : shapes)
      for (std::int64_t m : {16, 128, 512}) {
        compare<plait::f32>("f32", s, m, threads, turns);
        compare<plait::with_compute(plait::bf16, plait::dtype::bf16)>("bf16-dot", s, m, threads,
                                                                      turns);
      }
  });
}
