// One tensor of an open file, and its elements as numbers.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/io/files/stored_type.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

static_assert(std::endian::native == std::endian::little,
              "plait: safetensors files are little-endian and read by memcpy");

/// "[2, 3]"
inline std::string shape_text(std::span<std::int64_t const> shape) {
  std::string out = "[";
  for (std::int64_t const n : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

/// A tensor of an open file. The view is valid as long as the object that gave it.
/// Equation: `widen` is exact for F32, F16 and BF16; `read<double>` for F64 too,
///   `read<std::int64_t>` for I64 and I32, `read<std::int32_t>` for I32
/// Shapes: `bytes` in bytes, `size` and `first` in elements; `data` may be unaligned
/// Cost: a copy, or a conversion in pieces of 1024 values; only `read` allocates, its result
/// Source: the safetensors format
/// Test: tests/unit/io/files/safetensors_test.cpp
struct tensor_view {
  std::string name;
  stored_type type = stored_type::f32;
  std::vector<std::int64_t> shape;
  std::byte const* data = nullptr;
  std::int64_t bytes = 0;
  std::string_view file;

  std::int64_t size() const { return bytes / info(type).bytes; }
};

/// Throws plait::error about a tensor: "FILE: tensor "NAME" FORMAT", as fail (fail.hpp).
template <class... Values>
[[noreturn]] void fail(tensor_view const& t,
                       plait::detail::sentence_text<std::type_identity_t<Values>...> format,
                       Values const&... values) {
  fail(t.file, "tensor {} {}", in_quotes(t.name), sentence<Values...>(format, values...));
}

/// Throws plait::error unless the tensor has elements [first, first + count).
inline void require_range(tensor_view const& t, std::int64_t first, std::size_t count) {
  if (first < 0 || first > t.size() || count > static_cast<std::size_t>(t.size() - first))
    fail(t, "has {} elements; {} from {} were asked for", t.size(), count, first);
}

/// Throws plait::error unless `widen` can read the tensor.
inline void require_weight_type(tensor_view const& t) {
  if (t.type != stored_type::f32 && t.type != stored_type::f16 && t.type != stored_type::bf16)
    fail(t, "is of type {}; weights are read from F32, F16 or BF16", info(t.type).name);
}

/// Copies elements [first, first + out.size()), whose stored type is `Stored`.
template <class Stored>
void copy_stored(tensor_view const& t, std::int64_t first, std::span<Stored> out) {
  if (!out.empty())
    std::memcpy(out.data(), t.data + first * std::int64_t{sizeof(Stored)}, out.size_bytes());
}

/// Elements [first, first + out.size()) of an F32, F16 or BF16 tensor as floats, exactly.
inline void widen(tensor_view const& t, std::int64_t first, std::span<float> out) {
  require_range(t, first, out.size());
  if (t.type == stored_type::f32) return copy_stored(t, first, out);
  require_weight_type(t);
  // A buffer in the cache: the file's bytes may be unaligned, and the loops over aligned values
  // vectorize on every compiler.
  constexpr std::size_t chunk = 1024;
  std::uint16_t buffer[chunk];
  for (std::size_t i = 0; i < out.size(); i += chunk) {
    std::size_t const n = std::min(chunk, out.size() - i);
    copy_stored(t, first + static_cast<std::int64_t>(i), std::span(buffer, n));
    float* const to = out.data() + i;
    if (t.type == stored_type::bf16)
      for (std::size_t k = 0; k < n; ++k) to[k] = from_bf16(buffer[k]);
    else
      for (std::size_t k = 0; k < n; ++k) to[k] = from_f16(buffer[k]);
  }
}

/// All elements of a tensor, exactly: double from F64, F32, F16 and BF16, float from F32, F16 and
/// BF16, std::int64_t from I64 and I32, std::int32_t from I32.
template <class T>
requires std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, std::int64_t> ||
    std::same_as<T, std::int32_t>
        std::vector<T> read(tensor_view const& t) {
  std::vector<T> out(static_cast<std::size_t>(t.size()));
  if constexpr (std::same_as<T, float>) {
    widen(t, 0, out);
  } else {
    constexpr bool is_real = std::same_as<T, double>;
    constexpr bool is_wide = sizeof(T) == 8;
    constexpr stored_type same_type = is_real   ? stored_type::f64
                                      : is_wide ? stored_type::i64
                                                : stored_type::i32;
    if (t.type == same_type) {
      copy_stored(t, 0, std::span(out));
    } else if constexpr (std::same_as<T, double>) {
      std::vector<float> const floats = read<float>(t);
      out.assign(floats.begin(), floats.end());
    } else if (t.type == stored_type::i32) {
      std::vector<std::int32_t> narrow(out.size());
      copy_stored(t, 0, std::span(narrow));
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(narrow[i]);
    } else {
      fail(t, "is of type {}; {} was asked for", info(t.type).name, is_wide ? "I64 or I32" : "I32");
    }
  }
  return out;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
