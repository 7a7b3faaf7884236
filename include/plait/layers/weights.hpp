// The weights of one component, derived from its list of tensors.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/storage.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <utility>

PLAIT_NAMESPACE_BEGIN

/// A string as a template argument.
template <std::size_t N>
struct tensor_name {
  char text[N];
  constexpr tensor_name(char const (&t)[N]) { std::copy_n(t, N, text); }
  constexpr std::string_view view() const { return {text, N - 1}; }
};

namespace detail {
template <class Policy>
constexpr int tensor_count(Policy const& p, int d) {
  int n = 0;
  describe(p, d, [&](tensor const&) { ++n; });
  return n;
}
template <class Policy>
constexpr int tensor_index(Policy const& p, int d, std::string_view name) {
  int i = 0;
  int index = -1;
  describe(p, d, [&](tensor const& t) {
    index = name == t.name ? i : index;
    ++i;
  });
  return index;
}
template <class Policy>
constexpr role tensor_role(Policy const& p, int d, int index) {
  int i = 0;
  role r = role::matrix;
  describe(p, d, [&](tensor const& t) { r = i++ == index ? t.role : r; });
  return r;
}
}  // namespace detail

/// The tensors of one component, by name.
///
/// ```cpp body
/// plait::weights<plait::mlp{.d_ff = 40}, 16, plait::storage::packed<>> feed_forward;
/// plait::initialize(feed_forward, 7);  // allocates, and draws (model/initialize.hpp)
/// if (feed_forward.get<"gate_proj">().rows() != 40)
///   throw plait::error("another shape is described");
/// ```
/// Shapes: one tensor per entry of `describe(Policy, D)`, of the type that `Storage` has for its
///   role; empty until `allocate`, then zero
/// Errors:
///   - `plait: this component has no tensor of that name`: from `get`, at compile time
/// Cost: names are looked up at compile time; `allocate` as core/storage.hpp
/// Test: tests/unit/layers/weights_test.cpp
template <auto Policy, int D, class Storage>
class weights {
  /// A class, because nvcc 13.0 loses Storage's alias in a pack where it does not depend on the
  /// role.
  template <role R>
  struct tensor_of {
    using type = typename Storage::template tensor<R>;
  };
  template <int... I>
  static auto make(std::integer_sequence<int, I...>)
      -> std::tuple<typename tensor_of<detail::tensor_role(Policy, D, I)>::type...>;

 public:
  static constexpr int count = detail::tensor_count(Policy, D);

  /// The tensor of a name.
  template <tensor_name Name>
  auto& get() {
    constexpr int i = detail::tensor_index(Policy, D, Name.view());
    static_assert(i >= 0, "plait: this component has no tensor of that name");
    return std::get<i>(tensors_);
  }
  template <tensor_name Name>
  auto const& get() const {
    return const_cast<weights*>(this)->template get<Name>();
  }
  /// The address of an optional tensor; null where the policy does not describe it.
  template <tensor_name Name>
  auto find() const {
    constexpr int i = detail::tensor_index(Policy, D, Name.view());
    if constexpr (i >= 0)
      return &std::get<i>(tensors_);
    else
      return static_cast<typename Storage::template tensor<role::vector> const*>(nullptr);
  }

  /// Calls visit(description, tensor) per tensor, in the order of describe.
  template <class Visit>
  void for_each(Visit&& visit) {
    for_each_of(*this, visit);
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for_each_of(*this, visit);
  }

  void allocate() {
    for_each([](tensor const& t, auto& data) { data.allocate(t); });
  }

 private:
  template <class Self, class Visit>
  static void for_each_of(Self& self, Visit& visit) {
    tensor list[count + 1];
    int n = 0;
    describe(Policy, D, [&](tensor const& t) { list[n++] = t; });
    std::apply(
        [&, i = 0](auto&... data) mutable {
          (visit(static_cast<tensor const&>(list[i++]), data), ...);
        },
        self.tensors_);
  }

  decltype(make(std::make_integer_sequence<int, count>{})) tensors_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
