// Element types of tensors in files.
// Test: tests/unit/io/files/safetensors_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <iterator>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Element types of the safetensors format that occupy whole bytes.
/// Source: the safetensors format
// clang-format off
enum class stored_type : unsigned char {
  boolean, u8, i8, f8_e4m3, f8_e5m2, f8_e8m0, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64, c64
};
// clang-format on

/// Name of an element type in files, and bytes per value.
struct stored_type_info {
  std::string_view name;
  stored_type type;
  int bytes;
};

/// All element types, in the order of stored_type.
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

/// Name and bytes per value of a type.
constexpr stored_type_info const& info(stored_type t) {
  return stored_types[static_cast<unsigned char>(t)];
}
static_assert(
    [] {
      for (std::size_t i = 0; i < std::size(stored_types); ++i)
        if (info(static_cast<stored_type>(i)).type != static_cast<stored_type>(i)) return false;
      return true;
    }(),
    "plait: stored_types lists the types in the order of stored_type");

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
