// Compares the cost of a command with a budget:
//   measure NAME CPU_SECONDS MEGABYTES [--object FILE KILOBYTES] -- COMMAND...
// CPU time: user and system time of the command and its children. Memory: the largest resident set
// of any one of them. Object: the size of the file, names and relocations included. Other load only
// adds to CPU time (shared caches and memory), so the command's cost is the least of up to three
// runs. Exit status: 0 within the budget, 1 above it, 2 where the command fails.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

double seconds(timeval const& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; }

int usage() {
  std::fprintf(stderr,
               "measure NAME CPU_SECONDS MEGABYTES [--object FILE KILOBYTES] -- COMMAND...\n");
  return 2;
}
int failed(char const* what) {
  std::perror(what);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return usage();
  char const* const name = argv[1];
  double const cpu_limit = std::atof(argv[2]), megabyte_limit = std::atof(argv[3]);
  char const* object = nullptr;
  double kilobyte_limit = 0;
  int at = 4;
  if (std::strcmp(argv[at], "--object") == 0 && argc > 8) {
    object = argv[5];
    kilobyte_limit = std::atof(argv[6]);
    at = 7;
  }
  if (std::strcmp(argv[at], "--") != 0 || cpu_limit <= 0 || megabyte_limit <= 0 ||
      (object && kilobyte_limit <= 0))
    return usage();

  for (int runs = 1; runs <= 3; ++runs) {
    auto const start = std::chrono::steady_clock::now();
    pid_t const child = fork();
    if (child < 0) return failed("fork");
    if (child == 0) {
      execvp(argv[at + 1], argv + at + 1);
      std::perror(argv[at + 1]);
      _exit(127);
    }
    int status = 0;
    rusage used{};
    if (wait4(child, &status, 0, &used) != child) return failed("wait4");
    double const wall =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      std::fprintf(stderr, "%s: the command failed\n", name);
      return 2;
    }
    double const cpu = seconds(used.ru_utime) + seconds(used.ru_stime),
                 megabytes = double(used.ru_maxrss) * 1024e-6;
    std::printf("%s: %.2f s of CPU time (limit %g; %.2f s passed), %.0f MB (limit %g)", name, cpu,
                cpu_limit, wall, megabytes, megabyte_limit);
    bool holds = cpu <= cpu_limit && megabytes <= megabyte_limit;
    if (object) {
      struct stat file {};
      if (stat(object, &file) != 0) return failed(object);
      double const kilobytes = double(file.st_size) * 1e-3;
      std::printf(", object %.0f kB (limit %g)", kilobytes, kilobyte_limit);
      holds = holds && kilobytes <= kilobyte_limit;
    }
    std::printf("%s\n", holds ? "" : ": too much");
    std::fflush(stdout);
    if (holds) return 0;
  }
  return 1;
}
