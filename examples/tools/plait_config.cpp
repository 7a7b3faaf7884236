// plait-config: prints the C++ header that defines the architecture of a checkpoint's config.json.
#include <plait/io/family.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

namespace {

// Every error is one line on standard error and exit status 1: the sentence in a build log.
int complain(std::string const& printable_line) {
  std::fprintf(stderr, "plait-config: %s\n", printable_line.c_str());
  return 1;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Prints a C++ header with the architecture of a checkpoint: NAME::config and "
      "NAME::model<Execution>.",
      "plait-config"};
  std::string path, name = "checkpoint_architecture";
  app.add_option("DIR", path, "a checkpoint's directory, or its config.json")->required();
  app.add_option("--name", name, "the namespace of the header")->capture_default_str();
  std::string text;
  try {
    app.parse(argc, argv);
    text = plait::io::architecture_source(plait::io::config_file(path), name);
  } catch (CLI::CallForHelp const&) {
    text = app.help();
  } catch (CLI::ParseError const& e) {
    return complain(plait::io::printable(e.what()) + "; usage: plait-config DIR [--name NAME]");
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return complain("standard output cannot be written");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (plait::error const& e) {
    return complain(e.what());  // printable already
  } catch (std::exception const& e) {
    return complain(plait::io::printable(e.what()));
  }
}
