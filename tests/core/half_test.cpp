#include <plait/core/half.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>

TEST_CASE("from_f16: every one of the 65,536 values, by the format's definition") {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    float const actual = plait::from_f16(static_cast<std::uint16_t>(h));
    int const exponent = static_cast<int>(h >> 10 & 31);
    double const mantissa = static_cast<double>(h & 1023);
    if (exponent == 31 && mantissa > 0) {
      REQUIRE(std::isnan(actual));
      continue;
    }
    double const magnitude = exponent == 31  ? INFINITY
                             : exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(1024 + mantissa, exponent - 25);
    REQUIRE(static_cast<double>(actual) == (h >> 15 != 0 ? -magnitude : magnitude));
    REQUIRE(std::signbit(actual) == (h >> 15 != 0));
  }
}

TEST_CASE("from_bf16: the upper half of a float") {
  for (std::uint32_t h = 0; h < 0x10000; ++h)
    REQUIRE(std::bit_cast<std::uint32_t>(plait::from_bf16(static_cast<std::uint16_t>(h))) == h << 16);
}
