// Rules of a class template: static assertions that are all reported at once.
// Errors: the sentence of the rule, where the condition does not hold; it begins with the name of
//   the library
// Cost: none at run time, the members are empty
// Test: tests/checks/compile_fail/rules.cpp, whose last cases break several rules at once
#pragma once

#include <plait/core/prologue.hpp>

/// One rule of a class template, as a member: a static_assert in a class of its own. clang stops
/// instantiating a class at its first failed assertion; a class per rule reports every broken rule.
#define PLAIT_RULE(name, condition, sentence) \
  template <bool Holds>                       \
  struct name##_rule {                        \
    static_assert(Holds, sentence);           \
  };                                          \
  [[no_unique_address]] name##_rule<(condition)> name##_holds

#include <plait/core/epilogue.hpp>
