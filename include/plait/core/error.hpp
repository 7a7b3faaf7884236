// The exception type of every error at run time.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <stdexcept>
#include <string>

PLAIT_NAMESPACE_BEGIN

/// Every error at run time.
/// Errors: `what()` is one line, a sentence: the file and the place if there are any, what was
///   found, what was expected
/// Test: tests/unit/model/single_layer_test.cpp, tests/unit/io/files/safetensors_test.cpp
class error : public std::runtime_error {
 public:
  explicit error(std::string const& text) : std::runtime_error(text) {}
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
