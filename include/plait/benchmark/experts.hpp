// The experts that a call reaches, counted from the choices that an observer of the layer is given.
// Errors: of register_layer and register_model
//   - `register …: routing … needs a channel per expert`: routing other than random takes one
//     of the input, or of the residual stream, for each expert
//   - `tokens do not go to the experts that routing … assigns to them`: of the benchmark
// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/place.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

/// The number of tokens of each expert in a list of choices, for at least `experts` experts.
inline std::vector<std::int64_t> tokens_per_expert(std::int32_t const* choices, std::int64_t n,
                                                   std::int64_t experts) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(experts), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    auto const e = static_cast<std::size_t>(choices[i]);
    if (tokens.size() <= e) tokens.resize(e + 1, 0);
    ++tokens[e];
  }
  return tokens;
}

inline double reached_experts(std::vector<std::int64_t> const& tokens) {
  return double(std::count_if(tokens.begin(), tokens.end(), [](std::int64_t n) { return n > 0; }));
}

/// Calls visit(number of tokens of each expert) where an observer is given the choices of a router,
/// [tokens, k] under the name "experts".
template <class Memory, class View, class Visit>
void visit_experts(std::string_view name, View const& view, std::int64_t experts, Visit&& visit) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(view.data())>>;
  if constexpr (std::is_same_v<T, std::int32_t>)
    if (name == "experts") {
      auto const choices = fetch<Memory>(matrix_view<std::int32_t const>(view));
      visit(tokens_per_expert(choices.read().data(), view.rows() * view.cols(), experts));
    }
}

/// The error of a benchmark whose tokens go to other experts.
inline std::string misrouted(routing r) {
  return sentence("tokens do not go to the experts that routing {} assigns to them", name_of(r));
}

/// Routing other than random takes a channel of the input per expert.
inline void check_channels(std::string const& name, routing r, std::int64_t experts,
                           std::int64_t width, std::string const& found) {
  if (r != routing::random && experts > width)
    throw error(sentence("register {}: routing {} needs a channel per expert, {}", name, name_of(r),
                         found));
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
