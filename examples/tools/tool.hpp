// Errors and arguments of the command-line tools: every error is one line on standard error and
// exit status 1.
#pragma once

#include <plait/io/files/fail.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

namespace tool {

/// Runs body(), whose result is the exit status.
template <class Body>
int run(char const* name, CLI::App& app, int argc, char** argv, Body&& body) {
  auto const complain = [&](std::string const& line) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", name, line.c_str());
    return 1;
  };
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the size limit is then an error of write
  try {
    app.parse(argc, argv);
    return body();
  } catch (CLI::CallForHelp const&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (CLI::ParseError const& e) {
    return complain(plait::io::printable(e.what()) + " (--help lists the options)");
  } catch (plait::error const& e) {
    return complain(e.what());  // printable already
  } catch (std::bad_alloc const&) {
    return complain("out of memory");
  } catch (std::exception const& e) {
    return complain(plait::io::printable(e.what()));
  }
}

/// Reads integers separated by blanks. `where` begins the message of an error, which numbers tokens
/// from 0.
template <class Push>
void parse_ids(std::string_view text, std::string const& where, std::int64_t vocab_size,
               Push&& push) {
  constexpr std::string_view blanks = " \t\r";
  for (std::size_t i = 0, place = 0;
       (i = text.find_first_not_of(blanks, i)) != std::string_view::npos; ++place) {
    std::size_t const end = std::min(text.find_first_of(blanks, i), text.size());
    std::string_view const word = text.substr(i, end - i);
    std::int64_t id = 0;
    auto const [stop, problem] = std::from_chars(word.data(), word.data() + word.size(), id);
    auto const at = [&] { return where + ", token " + std::to_string(place) + ": "; };
    if (problem == std::errc::invalid_argument || stop != word.data() + word.size())
      throw plait::error(at() + plait::io::in_quotes(word.substr(0, 40)) +
                         " is not a whole number");
    if (problem != std::errc() || word.front() == '-' || id < 0 || id >= vocab_size)
      throw plait::error(at() + "id " + std::string(word.substr(0, 40)) +
                         " is outside the vocabulary of " + std::to_string(vocab_size));
    push(static_cast<std::int32_t>(id));
    i = end;
  }
}

}  // namespace tool
