// The storage of exec::device: the tensor type of each role.
// Test: tests/unit/gpu/device_storage_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/device_tensors.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

PLAIT_NAMESPACE_BEGIN

namespace storage {

namespace detail {
template <role R, dtype Weights, dtype Experts, class Memory>
struct device_tensor {
  using type = device_matrix<R == role::router   ? dtype::f32
                             : R == role::expert ? Experts
                                                 : Weights,
                             Memory>;
};
template <dtype Weights, dtype Experts, class Memory>
struct device_tensor<role::vector, Weights, Experts, Memory> {
  using type = device_vector<Memory>;
};
template <dtype Weights, dtype Experts, class Memory>
struct device_tensor<role::state, Weights, Experts, Memory> {
  using type = device_state<Memory>;
};
}  // namespace detail

/// Types of the weights of exec::device, by role: linear maps as device_matrix, vectors as
/// device_vector, state matrices as device_state. Vectors, state matrices and the router are f32.
/// Test: tests/unit/gpu/device_storage_test.cpp
template <dtype Weights, dtype Experts, class Memory>
struct device {
  template <role R>
  using tensor = typename detail::device_tensor<R, Weights, Experts, Memory>::type;
  using table = device_matrix<Weights, Memory>;  ///< the embedding
};

}  // namespace storage
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
