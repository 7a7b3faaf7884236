// The tensors of a model as entries of a packed file.
// Test: tests/unit/io/packed_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sentence.hpp>
#include <plait/policy/tensor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A tensor that can borrow memory. A packed file holds its storage unchanged, and any other tensor
/// as rows of f32.
template <class Tensor>
concept borrowing_tensor = requires(Tensor& data, tensor const& t, std::byte const* memory,
                                    std::shared_ptr<void const> owner) {
  { Tensor::layout } -> std::convertible_to<std::string_view>;
  { Tensor::bytes_of(t) } -> std::convertible_to<std::int64_t>;
  { std::as_const(data).storage().data() } -> std::convertible_to<std::byte const*>;
  data.borrow(t, memory, owner);
};

/// The "layout" of a tensor in a packed file.
template <class Tensor>
constexpr std::string_view packed_layout() {
  if constexpr (borrowing_tensor<Tensor>)
    return Tensor::layout;
  else
    return "rows";
}

/// The "bytes" of tensor `t` in a packed file.
template <class Tensor>
std::int64_t packed_bytes(tensor const& t) {
  if constexpr (borrowing_tensor<Tensor>)
    return Tensor::bytes_of(t);
  else
    return t.size() * 4;
}

/// The "name" of a tensor of model_weights::for_each_tensor in a packed file:
/// "layers.3.mixer.in_proj", "head.weight".
inline std::string packed_name(int layer, std::string_view part, tensor const& t) {
  if (layer < 0) return sentence("{}.{}", part, t.name);
  return sentence("layers.{}.{}.{}", layer, part, t.name);
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
