// Pieces of a generated header that defines an architecture.
// Shapes: a name is an identifier that begins with a letter, without "__", and neither a keyword of
//   C++20 (or an alternative operator) nor std nor plait
// Errors:
//   - `the name … cannot be a namespace; expected a C++ identifier that begins with a letter and
//     is not reserved`: it does not begin with FILE
// Test: tests/unit/models/jamba/checkpoint_config_test.cpp, tests/checks/tools/plait_config_test.sh
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/io/architecture/float_text.hpp>
#include <plait/io/files/quote.hpp>
#include <plait/policy/interleave.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Whether `name` may name a namespace of generated code: an identifier that is neither reserved
/// nor in use.
inline bool is_namespace_name(std::string_view name) {
  constexpr std::string_view taken[] = {
      "alignas",   "alignof",      "and",           "and_eq",
      "asm",       "auto",         "bitand",        "bitor",
      "bool",      "break",        "case",          "catch",
      "char",      "char16_t",     "char32_t",      "char8_t",
      "class",     "co_await",     "co_return",     "co_yield",
      "compl",     "concept",      "const",         "const_cast",
      "consteval", "constexpr",    "constinit",     "continue",
      "decltype",  "default",      "delete",        "do",
      "double",    "dynamic_cast", "else",          "enum",
      "explicit",  "export",       "extern",        "false",
      "float",     "for",          "friend",        "goto",
      "if",        "inline",       "int",           "long",
      "mutable",   "namespace",    "new",           "noexcept",
      "not",       "not_eq",       "nullptr",       "operator",
      "or",        "or_eq",        "plait",         "private",
      "protected", "public",       "register",      "reinterpret_cast",
      "requires",  "return",       "short",         "signed",
      "sizeof",    "static",       "static_assert", "static_cast",
      "std",       "struct",       "switch",        "template",
      "this",      "thread_local", "throw",         "true",
      "try",       "typedef",      "typeid",        "typename",
      "union",     "unsigned",     "using",         "virtual",
      "void",      "volatile",     "wchar_t",       "while",
      "xor",       "xor_eq"};
  auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  auto const follows = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && letter(name[0]) && std::all_of(name.begin(), name.end(), follows) &&
         name.find("__") == std::string_view::npos &&
         std::find(std::begin(taken), std::end(taken), name) == std::end(taken);
}

/// The text of a designated initializer, "{.name = value, ...}"; members that are not added keep
/// their defaults.
class initializer_text {
 public:
  initializer_text& add(char const* name, std::string const& value) {
    text_.append(text_.size() > 1 ? ", ." : ".").append(name).append(" = ").append(value);
    return *this;
  }
  initializer_text& add(char const* name, int value) { return add(name, std::to_string(value)); }
  initializer_text& add(char const* name, bool value) {
    return add(name, std::string(value ? "true" : "false"));
  }
  std::string str() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

/// The initializer of a schedule, without periods and offsets that are the defaults.
inline std::string interleave_text(interleave const& s) {
  initializer_text out;
  out.add("blocks", s.blocks)
      .add("layers_per_block", s.layers_per_block)
      .add("attend", s.attend)
      .add("recur", s.recur);
  if (s.moe_every > 0) out.add("moe_every", s.moe_every);
  if (s.attend_offset >= 0) out.add("attend_offset", s.attend_offset);
  if (s.moe_offset >= 0) out.add("moe_offset", s.moe_offset);
  return out.str();
}

/// A header with namespace `name`: `body`, which defines `config`, then `model<Execution>`. Throws
/// plait::error if `name` cannot be a namespace.
inline std::string header_text(std::string_view name, std::string const& body) {
  if (!is_namespace_name(name))
    throw error(
        sentence("the name {} cannot be a namespace; expected a C++ identifier that begins with a "
                 "letter and is not reserved",
                 in_quotes(name)));
  std::string out =
      "// Written by plait-config from a checkpoint's config.json: change that, not this.\n#pragma "
      "once\n\n";
  out +=
      "#if defined(__CUDACC__)\n#include <plait/cuda.cuh>\n#else\n#include "
      "<plait/plait.hpp>\n#endif\n\n";
  out.append("namespace ").append(name).append(" {\n\n").append(body);
  out +=
      "\ntemplate <class Execution = plait::exec::cpu<>>\nusing model = plait::model<config, "
      "Execution>;\n\n";
  return out.append("}  // namespace ").append(name).append("\n");
}

/// The definition of a hybrid named config: its type, then one line per member.
class hybrid_text {
 public:
  explicit hybrid_text(std::string const& slots)
      : text_("inline constexpr plait::hybrid<" + slots + "> config{\n") {}
  hybrid_text& line(char const* name, std::string const& value) {
    text_.append("    .").append(name).append(" = ").append(value).append(",\n");
    return *this;
  }
  hybrid_text& line(char const* name, int value) { return line(name, std::to_string(value)); }
  /// The members norm_eps, rope_theta and tie_embeddings that are not the defaults.
  hybrid_text& reals(float norm_eps, float rope_theta, bool tied) {
    if (norm_eps < 1e-6f || norm_eps > 1e-6f) line("norm_eps", float_text(norm_eps) + "f");
    if (rope_theta > 0) line("rope_theta", float_text(rope_theta) + "f");
    if (tied) line("tie_embeddings", "true");
    return *this;
  }
  std::string str() const { return text_ + "};\n"; }

 private:
  std::string text_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
