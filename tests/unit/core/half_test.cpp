#include <plait/core/half.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>

TEST_CASE("from_f16: all 65,536 values by the format's definition") {
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

TEST_CASE("from_bf16: the upper 16 bits of a float") {
  for (std::uint32_t h = 0; h < 0x10000; ++h)
    REQUIRE(std::bit_cast<std::uint32_t>(plait::from_bf16(static_cast<std::uint16_t>(h))) ==
            h << 16);
}

TEST_CASE("to_bf16: the nearest value, ties to even") {
  auto const narrow = [](std::uint32_t bits) {
    return std::uint32_t{plait::to_bf16(std::bit_cast<float>(bits))};
  };
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    bool const nan = (h & 0x7f80) == 0x7f80 && (h & 0x7f) != 0, infinite = (h & 0x7fff) == 0x7f80;
    if (nan) {
      for (std::uint32_t const low : {0u, 1u, 0x8000u, 0xffffu}) {
        std::uint32_t const got = narrow(h << 16 | low);
        REQUIRE(std::isnan(plait::from_bf16(static_cast<std::uint16_t>(got))));
        REQUIRE((got & 0x40) != 0);               // quiet
        REQUIRE((got & 0xffbf) == (h & 0xffbf));  // with its sign and payload
      }
      continue;
    }
    REQUIRE(narrow(h << 16) == h);
    if (infinite) continue;
    std::uint32_t const up = h + 1;  // the next in magnitude; after the largest, infinity
    REQUIRE(narrow(h << 16 | 0x7fff) == h);
    REQUIRE(narrow(h << 16 | 0x8001) == up);
    REQUIRE(narrow(h << 16 | 0x8000) == (h % 2 == 0 ? h : up));
  }
  CHECK(narrow(0x7f800001) == 0x7fc0);  // a NaN with no payload in the upper half
}
