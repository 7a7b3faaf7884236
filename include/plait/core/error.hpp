// The one exception type.
#pragma once

#include <stdexcept>
#include <string>

namespace plait {

/// Everything plait refuses at run time. what() is one line, a sentence with the file, the place, what was found and what was expected.
class error : public std::runtime_error {
 public:
  explicit error(std::string const& sentence) : std::runtime_error(sentence) {}
};

}  // namespace plait
