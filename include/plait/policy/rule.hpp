// How a class template states a rule.
#pragma once

// One rule of a class template, as a member: a static_assert in a class of its own. clang gives up a class at its first failed assertion;
// this way every broken rule is heard at once.
#define PLAIT_RULE(name, condition, sentence) \
  template <bool Holds>                       \
  struct name##_rule {                        \
    static_assert(Holds, sentence);           \
  };                                          \
  [[no_unique_address]] name##_rule<(condition)> name##_holds
