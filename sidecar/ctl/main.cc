// roostctl: see `roostctl --help`.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "sidecar/ctl/arguments.h"
#include "sidecar/ctl/commands.h"
#include "sidecar/version.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kNotFound = 3;

void Print(absl::string_view text) {
  fwrite(text.data(), 1, text.size(), stdout);
  fflush(stdout);
}

int Complain(const absl::Status& status, int exit_code) {
  fprintf(stderr, "roostctl: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  const char* api = std::getenv("ROOST_API");
  const auto arguments = roost::ctl::ParseArguments(std::vector<std::string>(argv + 1, argv + argc),
                                                    api == nullptr ? "" : api);
  if (!arguments.ok()) return Complain(arguments.status(), kUsage);
  if (arguments->command == roost::ctl::Command::kHelp) {
    Print(roost::ctl::HelpText(arguments->help_for));
    return 0;
  }
  if (arguments->command == roost::ctl::Command::kVersion) {
    const std::string version = roost::sidecar::kVersion;
    Print(arguments->json ? "{\"version\": \"" + version + "\"}\n" : "roostctl " + version + "\n");
    return 0;
  }
  const absl::Status status = roost::ctl::Run(*arguments, Print);
  if (status.ok()) return 0;
  return Complain(status, absl::IsNotFound(status) ? kNotFound : kFailed);
}
