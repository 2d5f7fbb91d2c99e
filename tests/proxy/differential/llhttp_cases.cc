#include "tests/proxy/differential/llhttp_cases.h"

#include <fstream>
#include <regex>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

constexpr const char* kFiles[] = {
    "request/connection",  "request/content-length",    "request/finish",
    "request/invalid",     "request/lenient-headers",   "request/lenient-version",
    "request/method",      "request/pausing",           "request/pipelining",
    "request/sample",      "request/transfer-encoding", "request/uri",
    "response/connection", "response/content-length",   "response/finish",
    "response/invalid",    "response/lenient-version",  "response/pausing",
    "response/pipelining", "response/sample",           "response/transfer-encoding",
};

// What a case's text stands for: lines end in CRLF, an escaped end of line is none, and \r \n \t \f
// \xNN \NNN are bytes.
std::string StreamOf(absl::string_view text) {
  absl::ConsumeSuffix(&text, "\n");
  std::string stream;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      stream += "\r\n";
      continue;
    }
    if (text[i] != '\\' || i + 1 == text.size()) {
      stream += text[i];
      continue;
    }
    const char c = text[++i];
    const bool hex = c == 'x';
    if (c == '\n') continue;
    if (c == 'r' || c == 'n' || c == 't' || c == 'f') {
      stream += c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : '\f';
    } else if (hex || (c >= '0' && c <= '7')) {
      size_t used = 0;
      const std::string digits(text.substr(hex ? i + 1 : i, hex ? 2 : 3));
      stream += static_cast<char>(std::stoi(digits, &used, hex ? 16 : 8));
      i += hex ? used : used - 1;
    } else {
      absl::StrAppend(&stream, "\\", std::string(1, c));
    }
  }
  return stream;
}

std::string WithHost(const std::string& stream) {
  if (absl::StrContains(absl::AsciiStrToLower(stream), "host:")) return stream;
  static const std::regex line("([A-Z-]+ [^\r\n]* HTTP/1\\.1\r\n)");
  return std::regex_replace(stream, line, "$1Host: a\r\n");
}

bool IsPause(absl::string_view code) {
  // After the last message, or where it hands the connection over.
  return code == "5" || code == "21" || code == "22" || code == "23";
}

void ReadLog(absl::string_view log, LlhttpCase* item) {
  for (absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::EndsWith(line, " message complete")) ++item->messages;
    const size_t at = line.find(" error code=");
    if (at == line.npos) continue;
    const std::vector<absl::string_view> parts =
        absl::StrSplit(line.substr(at + 12), absl::MaxSplits(" reason=", 1));
    if (!IsPause(parts[0])) item->refusal = parts.size() > 1 ? std::string(parts[1]) : "no reason";
  }
}

// What lies between a line that is `fence` and the next "```", from `*at` on; moves `*at` behind
// it.
std::string Block(const std::string& text, absl::string_view fence, size_t* at) {
  const size_t begin = text.find(absl::StrCat("\n", fence, "\n"), *at);
  if (begin == text.npos) return "";
  const size_t from = begin + fence.size() + 2;
  const size_t to = text.find("\n```", from - 1);
  if (to == text.npos) return "";
  *at = to + 4;
  return text.substr(from, to + 1 - from);
}

}  // namespace

std::vector<LlhttpCase> LlhttpCases() {
  std::vector<LlhttpCase> cases;
  static const std::regex type("<!-- meta=\\{ ?\"type\": ?\"([a-z-]+)\"");
  for (const std::string file : kFiles) {
    std::ifstream in(absl::StrCat("tests/proxy/differential/llhttp/", file, ".md"));
    std::stringstream all;
    all << in.rdbuf();
    const std::string text = all.str();
    EXPECT_FALSE(text.empty()) << file;
    size_t at = 0;
    std::smatch match;
    while (std::regex_search(text.begin() + at, text.end(), match, type)) {
      const size_t found = at + match.position();
      const size_t heading = text.rfind("\n#", found);
      const std::string kind = match[1];
      LlhttpCase item;
      item.name = absl::StrCat(
          file, ": ",
          absl::StripLeadingAsciiWhitespace(absl::StripPrefix(
              text.substr(heading + 1, text.find('\n', heading + 1) - heading - 1), "##")));
      item.kind =
          absl::StartsWith(kind, "request") ? StreamKind::kRequests : StreamKind::kResponses;
      item.lenient = absl::StrContains(kind, "lenient");
      const size_t match_end = found + match.length();
      at = match_end;
      const std::string stream = StreamOf(Block(text, "```http", &at));
      EXPECT_FALSE(stream.empty()) << item.name;
      item.stream = item.kind == StreamKind::kRequests ? WithHost(stream) : stream;
      const std::string log = Block(text, "```log", &at);
      EXPECT_FALSE(log.empty()) << item.name;
      ReadLog(log, &item);
      // These say what its caller may do on the way, or evaluate a program to get their stream.
      if (!absl::StrContains(file, "pausing") && !absl::StrContains(stream, "${") &&
          !absl::StartsWith(absl::string_view(text).substr(match_end), ", \"skipBody\"")) {
        cases.push_back(std::move(item));
      }
    }
  }
  return cases;
}

}  // namespace roost::proxy
