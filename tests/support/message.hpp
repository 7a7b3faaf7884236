// The message of an error.
#pragma once

#include <plait/core/error.hpp>

#include <string>

namespace test {

/// The message of the plait::error that `f` throws; "(no error)" where it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (plait::error const& e) {
    return e.what();
  }
  return "(no error)";
}

}  // namespace test
