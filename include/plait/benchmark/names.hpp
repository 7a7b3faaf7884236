// Names of precisions and policies in what benchmarks print.
// Test: tests/unit/benchmark/explain_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/core/sentence.hpp>
#include <plait/policy/precision.hpp>

#include <cstddef>
#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// "f32", "bf16" or "int8".
constexpr char const* name_of(dtype t) {
  return t == dtype::f32 ? "f32" : t == dtype::bf16 ? "bf16" : "int8";
}

/// "f32", "bf16", "int8" or "experts_int8", whichever has these weights and experts, with the
/// members that differ from it: "bf16,compute:bf16". Other precisions are named by all four
/// members: "weights:int8,...".
inline std::string name_of(precision const& p) {
  struct named_precision {
    char const* name;
    precision types;
  };
  for (auto const& [known, types] :
       {named_precision{"f32", f32}, named_precision{"bf16", bf16}, named_precision{"int8", int8},
        named_precision{"experts_int8", experts_int8}}) {
    if (p.weights != types.weights || p.experts != types.experts) continue;
    std::string name = known;
    if (p.compute != types.compute) name.append(",compute:").append(name_of(p.compute));
    if (p.kv != types.kv) name.append(",kv:").append(name_of(p.kv));
    return name;
  }
  return sentence("weights:{},experts:{},compute:{},kv:{}", name_of(p.weights), name_of(p.experts),
                  name_of(p.compute), name_of(p.kv));
}

/// The name of a policy's type without namespaces and template arguments: "mamba", "moe", or that
/// of a policy of your own. `otherwise` where the compiler has no __PRETTY_FUNCTION__.
template <class Policy>
constexpr std::string_view policy_name([[maybe_unused]] std::string_view otherwise = "policy") {
#if defined(__GNUC__)
  // g++: "... [with Policy = plait::mamba; ...]", clang++: "... [Policy = plait::mamba]".
  std::string_view name = __PRETTY_FUNCTION__;
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
