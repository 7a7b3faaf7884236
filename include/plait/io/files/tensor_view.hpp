// One tensor of a file as it lies there, and reading it as numbers.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/io/files/message.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

static_assert(std::endian::native == std::endian::little,
              "plait: safetensors files are little-endian and read by memcpy");

/// Element types of the safetensors format that occupy whole bytes.
// clang-format off
enum class stored_type : unsigned char {
  boolean, u8, i8, f8_e4m3, f8_e5m2, f8_e8m0, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64, c64
};
// clang-format on

/// A type's name in a file, and the bytes of a value.
struct stored_type_info {
  std::string_view name;
  stored_type type;
  int bytes;
};

/// Every type, in the order of the enumeration.
inline constexpr stored_type_info stored_types[] = {
    {"BOOL", stored_type::boolean, 1},    {"U8", stored_type::u8, 1},
    {"I8", stored_type::i8, 1},           {"F8_E4M3", stored_type::f8_e4m3, 1},
    {"F8_E5M2", stored_type::f8_e5m2, 1}, {"F8_E8M0", stored_type::f8_e8m0, 1},
    {"U16", stored_type::u16, 2},         {"I16", stored_type::i16, 2},
    {"F16", stored_type::f16, 2},         {"BF16", stored_type::bf16, 2},
    {"U32", stored_type::u32, 4},         {"I32", stored_type::i32, 4},
    {"F32", stored_type::f32, 4},         {"U64", stored_type::u64, 8},
    {"I64", stored_type::i64, 8},         {"F64", stored_type::f64, 8},
    {"C64", stored_type::c64, 8},
};

/// What stored_types says of a type.
constexpr stored_type_info const& info(stored_type t) {
  return stored_types[static_cast<unsigned char>(t)];
}
static_assert(
    [] {
      for (unsigned char i = 0; i < std::size(stored_types); ++i)
        if (info(static_cast<stored_type>(i)).type != static_cast<stored_type>(i)) return false;
      return true;
    }(),
    "plait: stored_types lists the types in the order of stored_type");

/// "[2, 3]"
inline std::string shape_text(std::span<std::int64_t const> shape) {
  std::string out = "[";
  for (std::int64_t const n : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

/// A tensor inside an open file: valid as long as the object that lent it.
/// Equation: `widen` gives floats of F32, F16 and BF16, exactly; `read<double>` of F64 too,
///   `read<std::int64_t>` I64 and I32, `read<std::int32_t>` I32
/// Shapes: `bytes` in bytes, `size` and `first` in elements; `data` need not be aligned. A view is
///   valid as long as the object that lent it
/// Cost: a copy, or a copy and a conversion in pieces of 1024; no allocation but the result of
///   `read`
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

/// Throws a sentence about a tensor, with its file and name.
[[noreturn]] inline void fail(tensor_view const& t, std::string const& sentence) {
  fail(t.file, "tensor " + in_quotes(t.name) + " " + sentence);
}

/// Throws where a tensor has not so many values from `first` on.
inline void require_range(tensor_view const& t, std::int64_t first, std::size_t count) {
  if (first < 0 || first > t.size() || count > static_cast<std::size_t>(t.size() - first))
    fail(t, "has " + std::to_string(t.size()) + " elements; " + std::to_string(count) + " from " +
                std::to_string(first) + " were asked for");
}

/// Copies elements of the type they are stored in.
template <class Stored>
void copy_stored(tensor_view const& t, std::int64_t first, std::span<Stored> out) {
  if (!out.empty())
    std::memcpy(out.data(), t.data + first * std::int64_t{sizeof(Stored)}, out.size_bytes());
}

/// Elements [first, first + out.size()) of an F32, F16 or BF16 tensor as floats, exactly.
inline void widen(tensor_view const& t, std::int64_t first, std::span<float> out) {
  require_range(t, first, out.size());
  if (t.type == stored_type::f32) return copy_stored(t, first, out);
  if (t.type != stored_type::f16 && t.type != stored_type::bf16)
    fail(t, "is of type " + std::string(info(t.type).name) +
                "; weights are read from F32, F16 or BF16");
  // Through a buffer in the cache: the file's bytes may be unaligned, and the loops below then
  // vectorize on any compiler.
  constexpr std::size_t chunk = 1024;
  std::uint16_t buffer[chunk];
  for (std::size_t i = 0; i < out.size(); i += chunk) {
    std::size_t const n = out.size() - i < chunk ? out.size() - i : chunk;
    copy_stored(t, first + static_cast<std::int64_t>(i), std::span(buffer, n));
    float* const to = out.data() + i;
    if (t.type == stored_type::bf16)
      for (std::size_t k = 0; k < n; ++k) to[k] = from_bf16(buffer[k]);
    else
      for (std::size_t k = 0; k < n; ++k) to[k] = from_f16(buffer[k]);
  }
}

/// All of a tensor, exactly: double from any of F64, F32, F16 and BF16, float from the last three,
/// std::int64_t from I64 and I32, std::int32_t from I32.
template <class T>
requires std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, std::int64_t> ||
    std::same_as<T, std::int32_t>
        std::vector<T> read(tensor_view const& t) {
  std::vector<T> out(static_cast<std::size_t>(t.size()));
  if constexpr (std::same_as<T, float>) {
    widen(t, 0, out);
  } else {
    bool const real = std::same_as<T, double>, wide = sizeof(T) == 8;
    stored_type const own = real ? stored_type::f64 : wide ? stored_type::i64 : stored_type::i32;
    if (t.type == own) {
      copy_stored(t, 0, std::span(out));
    } else if constexpr (std::same_as<T, double>) {
      std::vector<float> const narrow = read<float>(t);
      out.assign(narrow.begin(), narrow.end());
    } else if (t.type == stored_type::i32) {
      std::vector<std::int32_t> narrow(out.size());
      copy_stored(t, 0, std::span(narrow));
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(narrow[i]);
    } else {
      fail(t, "is of type " + std::string(info(t.type).name) + "; " +
                  (wide ? "I64 or I32" : "I32") + " was asked for");
    }
  }
  return out;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
