#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/proxy/differential/reading.h"

namespace roost::proxy {
namespace {

[[noreturn]] void Die(absl::string_view why) {
  std::fprintf(stderr, "node_reader: %.*s\n", static_cast<int>(why.size()), why.data());
  std::abort();
}

End EndOf(absl::string_view word) {
  if (word == "boundary") return End::kBoundary;
  if (word == "midway") return End::kMidway;
  if (word == "closed") return End::kClosed;
  if (word == "tunnel") return End::kTunnel;
  if (word == "refused") return End::kRefused;
  Die(absl::StrCat("unknown end ", word));
}

}  // namespace

std::unique_ptr<NodeReader> NodeReader::Start(const std::string& script) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) Die("socketpair");
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(pair[1], STDIN_FILENO);
    dup2(pair[1], STDOUT_FILENO);
    execlp("node", "node", "--no-deprecation", script.c_str(), nullptr);
    execl("/usr/bin/node", "node", "--no-deprecation", script.c_str(), nullptr);
    _exit(127);
  }
  close(pair[1]);
  std::unique_ptr<NodeReader> reader(new NodeReader(pair[0], pid));
  reader->version_ = reader->Line();
  if (reader->version_.empty()) return nullptr;
  return reader;
}

NodeReader::~NodeReader() {
  close(fd_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string NodeReader::Line() {
  size_t end;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    char chunk[65'536];
    const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
    if (n <= 0) return "";
    buffer_.append(chunk, n);
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

// Asks with Q for requests or R for responses and the stream in hexadecimal on a line; the answer
// is a line "M METHOD TARGET BODY [NAME VALUE]..." for each message, each word "=" and hexadecimal,
// then "E END CODE".
Reading NodeReader::Read(StreamKind kind, absl::string_view stream) {
  std::string question =
      absl::StrCat(kind == StreamKind::kRequests ? "Q" : "R", absl::BytesToHexString(stream), "\n");
  for (size_t sent = 0; sent < question.size();) {
    const ssize_t n = send(fd_, question.data() + sent, question.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) Die("the child does not read");
    sent += n;
  }
  Reading reading;
  while (true) {
    const std::string line = Line();
    std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words[0] == "E" && words.size() == 3) {
      reading.end = EndOf(words[1]);
      reading.reason = words[2];
      return reading;
    }
    if (words[0] != "M" || words.size() < 4 || words.size() % 2 != 0)
      Die("the child said: " + line);
    for (std::string& word : words) word = absl::HexStringToBytes(word.substr(1));
    ReadMessage message{words[1], words[2], {}, words[3]};
    for (size_t i = 4; i < words.size(); i += 2)
      message.fields.emplace_back(words[i], words[i + 1]);
    reading.messages.push_back(std::move(message));
  }
}

}  // namespace roost::proxy
