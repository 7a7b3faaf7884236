// Words for what is printed: precisions, and policies by their type.
// Shapes: `"f32"`, `"bf16"`, `"int8"`, `"experts_int8"`, and what differs: `"bf16,compute:bf16"`; a
//   policy is called by its type, `"mamba"`
// Test: tests/unit/benchmark/explain_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/precision.hpp>

#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace bench {

constexpr char const* name_of(dtype t) {
  return t == dtype::f32 ? "f32" : t == dtype::bf16 ? "bf16" : "int8";
}

/// "f32", "bf16", "int8" or "experts_int8", and what differs from it, such as "bf16,compute:bf16";
/// otherwise all four, "weights:int8,...".
inline std::string name_of(precision const& p) {
  struct named {
    char const* name;
    precision is;
  };
  for (named const& known : {named{"f32", f32}, named{"bf16", bf16}, named{"int8", int8},
                             named{"experts_int8", experts_int8}}) {
    if (p.weights != known.is.weights || p.experts != known.is.experts) continue;
    std::string name = known.name;
    if (p.compute != known.is.compute) name.append(",compute:").append(name_of(p.compute));
    if (p.kv != known.is.kv) name.append(",kv:").append(name_of(p.kv));
    return name;
  }
  std::string name = "weights:";
  name.append(name_of(p.weights)).append(",experts:").append(name_of(p.experts));
  name.append(",compute:").append(name_of(p.compute)).append(",kv:").append(name_of(p.kv));
  return name;
}

/// The name of a policy's type without namespaces and template arguments: "mamba", "moe", or that
/// of your own. `otherwise` where the compiler does not tell.
template <class Policy>
constexpr std::string_view policy_name([[maybe_unused]] std::string_view otherwise = "policy") {
#if defined(__GNUC__)
  std::string_view name = __PRETTY_FUNCTION__;  // "... [with Policy = plait::mamba; ...]", "...
                                                // [Policy = plait::mamba]"
  std::string_view const before = "Policy = ";
  std::size_t const at = name.find(before);
  if (at == std::string_view::npos) return otherwise;
  name.remove_prefix(at + before.size());
  name = name.substr(0, name.find_first_of(";]<"));
  std::size_t const scope = name.rfind("::");
  return scope == std::string_view::npos ? name : name.substr(scope + 2);
#else
  return otherwise;
#endif
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
