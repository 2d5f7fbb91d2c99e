// What a parser makes of a stream of requests, or of responses to GETs, in a form in which parsers
// can be compared.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace roost::proxy {

enum class StreamKind { kRequests, kResponses };

struct ReadMessage {
  std::string method;                                       // Of a response, its status.
  std::string target;                                       // Of a response, the reason phrase.
  std::vector<std::pair<std::string, std::string>> fields;  // Of the head, in order of arrival.
  std::string body;
  bool operator==(const ReadMessage&) const = default;
};

enum class End {
  kBoundary,  // All read, and the next message may begin.
  kMidway,    // More is wanted.
  kClosed,    // The last message was the connection's last; what follows it was not read.
  kTunnel,    // The last message hands the connection over to another protocol.
  kRefused,   // `reason` says why.
};

struct Reading {
  std::vector<ReadMessage> messages;  // Complete ones.
  End end = End::kBoundary;
  std::string reason;
};

// Roost's own: RequestScanner or ResponseScanner, and BodyDecoder.
Reading ReadByRoost(StreamKind kind, absl::string_view stream);
// What Roost writes to the application or to the client: every complete message before the first
// that it refuses, anew.
std::string ForwardedByRoost(StreamKind kind, absl::string_view stream);
// Boost.Beast's basic_parser.
Reading ReadByBeast(StreamKind kind, absl::string_view stream);

// llhttp, as Node's HTTP server and client use it, in a child process (node_reader.js).
class NodeReader {
 public:
  // Null if there is no `node` on this machine.
  static std::unique_ptr<NodeReader> Start(const std::string& script);
  // Ends the child.
  ~NodeReader();
  NodeReader(const NodeReader&) = delete;

  Reading Read(StreamKind kind, absl::string_view stream);
  const std::string& version() const { return version_; }

 private:
  NodeReader(int fd, int pid) : fd_(fd), pid_(pid) {}
  std::string Line();

  const int fd_;
  const int pid_;
  std::string buffer_;
  std::string version_;
};

}  // namespace roost::proxy
