// Layers with mistakes that a benchmark's checks have to find, on the CPU and on a device. The
// reference computes them without the mistake.
#pragma once

#include <plait/benchmark/place.hpp>
#include <plait/plait.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace test {

/// Mistakes of a result: values off by 1 % or by half, or NaN; and `library_gemm`, values that
/// depend on the number of rows, as those of a library's product do.
enum class mistake { none, percent, half, not_a_number, library_gemm };

/// y = x proj^T with a mistake.
struct broken {
  mistake how = mistake::none;
};
template <class Visit>
constexpr void describe(broken const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "proj", .rows = d_model, .cols = d_model});
}

/// Scales one value on a device.
template <class T>
struct scale_value {
  struct args {
    T* at;
    float factor;
  };
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>&, args const& a) {
    if (b.thread() == 0) *a.at = T(static_cast<float>(*a.at) * a.factor);
  }
};

template <int D, broken P>
struct broken_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;
  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&&) {
    // A copy: clang 14 reads wrong members of a template argument at run time.
    static constexpr broken p = P;
    plait::ops::linear(exec, x, plait::ops::into(y, w.template get<"proj">()));
    if constexpr (plait::bench::on_device<Exec>) {
      auto const scale_first_row = [&](float factor) {
        for (int c = 0; c < D; ++c)
          exec.template launch<scale_value<T>>({1}, {y.data() + c, factor});
      };
      if (p.how == mistake::percent) scale_first_row(1.01f);
      if (p.how == mistake::half) scale_first_row(0.5f);
      if (p.how == mistake::not_a_number) scale_first_row(std::numeric_limits<float>::quiet_NaN());
      if (p.how == mistake::library_gemm && y.rows() > 3) scale_first_row(0.5f);
    } else if constexpr (!std::is_same_v<Exec, plait::exec::reference>) {
      exec.parallel(y.rows(), [&](std::int64_t r, int) {
        if (p.how == mistake::percent) y(r, 1) *= T(1.01);
        if (p.how == mistake::half) y(r, 1) *= T(0.5);
        if (p.how == mistake::not_a_number && r == 1) y(r, 0) = std::numeric_limits<T>::quiet_NaN();
        if (p.how == mistake::library_gemm && y.rows() > 3) y(r, 2) = std::nextafter(y(r, 2), T(9));
      });
    }
  }
};

/// y = x, with a router that sends every token to the first expert, whatever its logits.
struct stubborn {
  int num_experts = 4, top_k = 1;
};
template <class Visit>
constexpr void describe(stubborn const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{
      .name = "router", .role = plait::role::router, .rows = p.num_experts, .cols = d_model});
}
template <int D, stubborn P>
struct stubborn_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;
  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const&, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&& observer) {
    plait::arena::frame const scratch(exec.workspace);
    auto const expert = exec.template matrix<std::int32_t>(x.rows(), 1);
    plait::ops::gather_rows(exec, x, nullptr, y);
    if (!exec.workspace.measuring()) {
      if constexpr (plait::bench::on_device<Exec>)
        Exec::memory::clear(expert.data(), x.rows());
      else
        plait::host_memory::clear(expert.data(), x.rows());
    }
    observer("experts", plait::matrix_view<std::int32_t const>(expert));
  }
};

}  // namespace test

template <>
struct plait::layer_of<test::broken> {
  template <int D, test::broken P>
  using bind = test::broken_layer<D, P>;
};
template <>
struct plait::layer_of<test::stubborn> {
  template <int D, test::stubborn P>
  using bind = test::stubborn_layer<D, P>;
};
