// The storage of exec::cpu: the tensor type of each role.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/channel_tensor.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/cpu/state_tensor.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

PLAIT_NAMESPACE_BEGIN
namespace storage {

namespace detail {
template <role R, dtype Weights, dtype Experts>
struct packed_tensor {
  using type = panel_matrix<R == role::router ? dtype::f32 : R == role::expert ? Experts : Weights>;
};
template <dtype Weights, dtype Experts>
struct packed_tensor<role::vector, Weights, Experts> {
  using type = channel_tensor;
};
template <dtype Weights, dtype Experts>
struct packed_tensor<role::state, Weights, Experts> {
  using type = state_tensor;
};
}  // namespace detail

/// Types of the weights of exec::cpu, by role: linear maps, the embedding included, as
/// panel_matrix; vectors as channel_tensor and state matrices as state_tensor. Vectors, state
/// matrices and the router are f32.
/// Test: tests/unit/layers/weights_test.cpp
template <dtype Weights = dtype::f32, dtype Experts = Weights>
struct packed {
  template <role R>
  using tensor = typename detail::packed_tensor<R, Weights, Experts>::type;
  using table = panel_matrix<Weights>;  ///< the embedding
};

}  // namespace storage
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
