// How sessions are recognised in requests and responses, and how the node that owns one is named to
// balancers; the same fields, limits and defaults as `affinity` in proto/config.proto.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace roost::proxy {

// How a session's node is named. Names are nodes' names (node.name).
enum class AffinityFormat : uint8_t {
  kNone,         // Not at all.
  kSealed,       // A cookie of Roost's own, which nobody else can make.
  kIdRoute,      // ID.NODE
  kRouteCookie,  // A cookie of its own: .NODE
  kRanked,       // ID.OWNER.COPY...
};

enum class IdPlace : uint8_t {
  kCookie,
  kPath,    // ;NAME=ID
  kQuery,   // NAME=ID
  kHeader,  // A field of its own.
  kSoap,    // The SOAP header's axis2:ServiceGroupId.
};

// What is between the id that the application knows and the one that travels.
enum class IdForm : uint8_t {
  kPlain,   // Nothing.
  kSigned,  // s:ID.SIGNATURE, percent-encoded (express-session).
  kBase64,  // Base64 of the id (Spring Session).
};

// Who writes routes behind ids (kIdRoute, kRanked).
enum class RoutesBy : uint8_t {
  kApp,    // The application, which also wants to see them (jvmRoute).
  kRoost,  // This node, which also takes them off again before the application sees them.
};

struct AffinityOptions {
  AffinityFormat format = AffinityFormat::kNone;
  // Where ids are looked for; the first place that has one wins. Not empty, none twice.
  std::vector<IdPlace> places = {IdPlace::kCookie};
  IdForm form = IdForm::kPlain;
  std::string path_parameter = "jsessionid";
  std::string query_parameter;
  std::string header;
  std::string route_cookie = "ROUTEID";
  std::string sealed_cookie = "ROOST";
  // Of cookies that this node writes itself.
  std::string cookie_attributes = "Path=/; HttpOnly";
  RoutesBy routes_by = RoutesBy::kApp;
  // Between an id and its routes, and between routes.
  char delimiter = '.';
  // Of those that this node writes (kRanked).
  int routes_max = 3;
  // As the store has it: how many nodes follow the owner (kRanked).
  int copies = 1;
  // A new session's id is in the body of the response to a Socket.IO handshake.
  bool learn_socketio = false;
  // How much of a SOAP message is searched (kSoap).
  int64_t soap_bytes_max = 8 << 10;

  bool Has(IdPlace place) const;
  absl::Status Validate() const;
};

}  // namespace roost::proxy
