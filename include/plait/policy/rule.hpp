// How a class template states a rule: as a member, so that clang, which gives up a class at its
// first failed assertion, says all of them.
// Errors: the sentence given, where the condition does not hold; it should begin with the name of
//   your library
// Cost: none at run time, the members are empty
// Test: tests/checks/compile_fail/rules.cpp, whose last cases break several rules at once
#pragma once

#include <plait/core/prologue.hpp>

/// One rule of a class template, as a member: a static_assert in a class of its own. clang gives up
/// a class at its first failed assertion; this way every broken rule is heard at once.
#define PLAIT_RULE(name, condition, sentence) \
  template <bool Holds>                       \
  struct name##_rule {                        \
    static_assert(Holds, sentence);           \
  };                                          \
  [[no_unique_address]] name##_rule<(condition)> name##_holds

#include <plait/core/epilogue.hpp>
