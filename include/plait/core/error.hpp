// The one exception type: everything plait refuses at run time.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <stdexcept>
#include <string>

PLAIT_NAMESPACE_BEGIN

/// Everything plait refuses at run time. what() is one line, a sentence with the file, the place,
/// what was found and what was expected.
/// Errors: `what()` is one line: the file and the place if there are any, what was found, what was
///   expected
/// Test: tests/unit/model/single_layer_test.cpp, tests/unit/io/files/safetensors_test.cpp
class error : public std::runtime_error {
 public:
  explicit error(std::string const& sentence) : std::runtime_error(sentence) {}
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
