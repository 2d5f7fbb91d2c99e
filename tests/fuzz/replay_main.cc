// Runs a fuzz target over its corpus as an ordinary test: every file named on the command line (a
// folder stands for its files), each truncation of it, and a fixed number of seeded mutations.
//
// A finding is a crash, an assertion or a sanitizer report, so this main only has to survive.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutationsPerFile = 2'000;
constexpr size_t kTruncationsMax = 4'096;

void Run(const std::string& input) {
  // An exact heap copy, so that sanitizers see a read past the end.
  const std::vector<uint8_t> copy(input.begin(), input.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

std::string Mutate(std::string input, std::mt19937_64* random) {
  const int changes = 1 + static_cast<int>((*random)() % 4);
  for (int i = 0; i < changes; ++i) {
    const size_t at = input.empty() ? 0 : (*random)() % input.size();
    const char byte = static_cast<char>((*random)());
    switch ((*random)() % 4) {
      case 0:
        if (!input.empty()) input[at] = byte;
        break;
      case 1:
        input.insert(at, 1, byte);
        break;
      case 2:
        if (!input.empty()) input.erase(at, 1 + (*random)() % 8);
        break;
      default:
        if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << ((*random)() % 8)));
        break;
    }
  }
  return input;
}

void Replay(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string input{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  for (size_t size = 0; size < std::min(input.size(), kTruncationsMax); ++size) {
    Run(input.substr(0, size));
  }
  Run(input);
  std::mt19937_64 random(input.size());  // Fixed: a failure is the same on every run.
  for (int i = 0; i < kMutationsPerFile; ++i) Run(Mutate(input, &random));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      files.push_back(entry.path());
    }
  }
  if (files.empty()) {
    std::fprintf(stderr, "no corpus: name files or folders to replay\n");
    return 1;
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    Replay(file);
  }
  std::printf("replayed %zu files, with truncations and mutations\n", files.size());
  return 0;
}
