#include <plait/core/sentence.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

TEST_CASE("sentence: values fill the places from left to right") {
  CHECK(plait::sentence("no values") == "no values");
  CHECK(plait::sentence("{} of {}", std::int64_t{-3}, "tensors") == "-3 of tensors");
  CHECK(plait::sentence("{}{}", std::string("a"), 2u) == "a2");
  CHECK(plait::sentence("x is {}", 0.5f) == "x is 0.500000");
  CHECK(plait::sentence("{} stays", "{}") == "{} stays");  // a value's own braces are no places
}
