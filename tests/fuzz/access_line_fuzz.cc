// Lines of the access log: whatever head came in, one bounded line of printable ASCII that is a
// flat JSON object, with nothing of a query or of the path's parameters.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/core/access_line.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

bool Take(char c, absl::string_view* in) {
  if (in->empty() || in->front() != c) return false;
  in->remove_prefix(1);
  return true;
}

// A string of JSON; `text` is what it says, what is escaped as '_'.
bool TakeString(absl::string_view* in, std::string* text) {
  if (!Take('"', in)) return false;
  while (!in->empty() && in->front() != '"') {
    char c = in->front();
    if (c < 0x20 || c == 0x7f) return false;
    in->remove_prefix(1);
    if (c == '\\') {
      if (Take('u', in)) {
        if (in->size() < 4 || in->substr(0, 4).find_first_not_of("0123456789abcdef") != in->npos)
          return false;
        in->remove_prefix(4);
        c = '_';
      } else if (Take('"', in) || Take('\\', in)) {
        c = '_';
      } else {
        return false;
      }
    }
    text->push_back(c);
  }
  return Take('"', in);
}

// A string, a number or true.
bool TakeValue(absl::string_view* in, std::string* text) {
  if (!in->empty() && in->front() == '"') return TakeString(in, text);
  const size_t end = in->find_first_of(",}");
  if (end == 0 || end == in->npos) return false;
  const absl::string_view word = in->substr(0, end);
  in->remove_prefix(end);
  return word == "true" || word.find_first_not_of("0123456789.") == word.npos;
}

void CheckLine(absl::string_view line) {
  assert(line.size() <= kAccessLineBytesMax);
  assert(line.back() == '\n' && line.find('\n') == line.size() - 1);
  line.remove_suffix(1);
  bool more = Take('{', &line);
  assert(more);
  while (more) {
    std::string name, value;
    const bool named = TakeString(&line, &name) && Take(':', &line) && TakeValue(&line, &value);
    assert(named);
    static_cast<void>(named);
    if (name == "path") assert(value.find_first_of(";?") == value.npos);
    more = Take(',', &line);
  }
  const bool ended = Take('}', &line) && line.empty();
  assert(ended);
  static_cast<void>(ended);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace roost::proxy;  // NOLINT(build/namespaces): one function.
  const absl::string_view in(reinterpret_cast<const char*>(data), size);
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  // One that is refused has a line as well, with an empty head.
  if (scanner.Scan(in, &head) != ScanStatus::kComplete) head = RequestHead();
  const AccessClient client{.unix_ms = 1'795'000'000'123,
                            .ip = "2001:db8::1",
                            .scheme = "https",
                            .is_peer = size % 2 == 1};
  std::string line;
  AppendAccessHead(client, head, &line);
  AppendAccessResult({.status = 200,
                      .routed = true,
                      .node = {0xa2},
                      .tunnel = true,
                      .bytes_in = ~uint64_t{0},
                      .bytes_out = size},
                     &line);
  CheckLine(line);
  return 0;
}
