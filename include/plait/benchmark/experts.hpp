// Which experts a call reaches: counted where the layer shows them, not assumed.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/place.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/core/error.hpp>
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

/// The tokens of each expert in a list of choices; as long as `experts` at least.
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

/// Calls visit(tokens of each expert) where an observer is shown the choices of a router,
/// [tokens][k] under the name "experts".
template <class Memory, class Shown, class Visit>
void visit_experts(std::string_view name, Shown const& shown, std::int64_t experts, Visit&& visit) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(shown.data())>>;
  if constexpr (std::is_same_v<T, std::int32_t>)
    if (name == "experts") {
      auto const choices = fetch<Memory>(matrix_view<std::int32_t const>(shown));
      visit(tokens_per_expert(choices.read().data(), shown.rows() * shown.cols(), experts));
    }
}

inline std::string misrouted(routing r) {
  return std::string("tokens do not go to experts as routing ") + name_of(r) + " wants them to";
}

/// Where routing is made each expert needs a channel of the width.
inline void check_channels(std::string const& name, routing r, std::int64_t experts,
                           std::int64_t width, std::string const& found) {
  if (r != routing::random && experts > width)
    throw error("register " + name + ": routing " + name_of(r) + " needs a channel an expert, " +
                found);
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
