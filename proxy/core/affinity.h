// Affinity reads session ids and routes from heads, and writes routes into them, in the format that
// the application and its balancers use.
//
// The id is what names the session; it alone decides who owns it. A route is a hint for a session
// that nobody knows: the name of a node, never an address, and of use only if it is that of a live
// member. How an id is cut out depends on the options alone, never on the view, so that all nodes
// give a session the same key at any time. Ids are secrets: whoever holds one must not log it.
//
// Immutable; allocates nothing where it reads. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "membership/view.h"
#include "proxy/affinity_options.h"
#include "proxy/core/affinity_seal.h"
#include "proxy/core/body_id_scan.h"
#include "proxy/core/head.h"
#include "proxy/core/header_rules.h"
#include "proxy/options.h"
#include "store/session_key.h"

namespace roost::proxy {

inline constexpr size_t kSessionIdsMax = 8;
inline constexpr size_t kSessionIdBytesMax = 1'024;

// What a request says of its session. Filled in place and reused: ids that had to be decoded lie
// in it.
class RequestAffinity {
 public:
  RequestAffinity() = default;
  RequestAffinity(const RequestAffinity&) = delete;
  RequestAffinity& operator=(const RequestAffinity&) = delete;

  // In the order of AffinityOptions::places, then of appearance, without repeats. The first is the
  // session unless nobody knows it; empty ids and those over kSessionIdBytesMax are not among them.
  size_t count() const { return count_; }
  absl::string_view id(size_t i) const { return ids_[i]; }
  IdPlace place() const { return place_; }  // Of the first. REQUIRES: count() > 0.
  // "n1" or "n1.n2.n3": of the route cookie, else of the first id. Empty: none.
  absl::string_view routes() const { return routes_; }
  // The first id came without a route where others have one.
  bool bare() const { return bare_; }
  // Two places name different sessions.
  bool conflict() const { return conflict_; }
  // Of the sealed cookie; empty: none.
  absl::string_view seal() const { return seal_; }

 private:
  friend class Affinity;
  void Clear();
  void Add(absl::string_view id, absl::string_view routes, IdPlace place);

  std::array<absl::string_view, kSessionIdsMax> ids_;
  size_t count_ = 0;
  IdPlace place_ = IdPlace::kCookie;
  absl::string_view routes_, seal_;
  bool bare_ = false;
  bool conflict_ = false;
  // What follows the ids in cookies, delimiter included.
  std::array<absl::string_view, kSessionIdsMax> tails_;
  size_t tail_count_ = 0;
  std::array<char, 512> decoded_;
  size_t decoded_size_ = 0;
};

enum class IdChange : uint8_t {
  kNone,
  kSet,
  kCleared,  // The application told the visitor to forget it.
};

// What a response says of its session.
struct ResponseAffinity {
  IdChange change = IdChange::kNone;
  absl::string_view id;  // Only if kSet.
  // Where in the head its routes stand, delimiter included, or would stand. Null: in no cookie.
  absl::string_view tail;
  std::array<char, 256> decoded;

  void Clear() {
    change = IdChange::kNone;
    id = tail = {};
  }
};

class Affinity {
 public:
  // Keeps a copy of what it needs. REQUIRES: options.Validate().ok().
  explicit Affinity(const Options& options);

  void Read(const RequestHead& head, RequestAffinity* out) const;
  // A response that may need reading; most need none.
  bool MaySetId(const ResponseHead& head) const {
    return (from_header_ || head.present.Has(FieldId::kSetCookie) ||
            (from_path_ && head.status / 100 == 3));
  }
  // Whether the request's body must be searched (BodyIdScan::Kind::kSoap) before it is known whose
  // the request is.
  bool IdInBody(const RequestHead& head, const RequestAffinity& request) const;
  // What the response's body is to be searched for; nothing: for nothing.
  std::optional<BodyIdScan::Kind> IdInBody(const RequestHead& head, const RequestAffinity& request,
                                           const ResponseHead& response) const;
  bool reads_bodies() const { return from_soap_ || learn_socketio_; }
  size_t body_bytes_max() const { return body_bytes_max_; }
  // What the search found; `id` must live as long as the other ids.
  void AddBodyId(absl::string_view id, RequestAffinity* request) const;
  void AddBodyId(absl::string_view id, ResponseAffinity* response) const;
  // Of several cookies the last one that was not cleared again counts. `now_unix_s` is wall time.
  void Read(const ResponseHead& head, int64_t now_unix_s, ResponseAffinity* out) const;

  // The first live member that the request's routes name; no node: none.
  membership::NodeId Hint(const RequestAffinity& request, const membership::View& view) const;
  // Whether requests without an id go where their route says.
  bool RoutesWithoutId() const { return format_ == AffinityFormat::kRouteCookie; }

  // What the application must not see of the request: routes that this node wrote.
  void HideRoutes(const RequestAffinity& request, HeadEdits* edits) const;
  // What the application's response must say besides, where this node owns the session: its route,
  // in new cookies of the application's, and where the request named another node or none.
  struct Owned {
    const RequestAffinity& request;
    const ResponseAffinity& response;
    store::SessionKey key;
    // The request's session is owned here, or the response made one.
    bool owned_here = false;
    const SealKeys* seals = nullptr;  // Null: the cluster has no keys.
  };
  // True if a cookie was added that the application did not set: the visitor has moved.
  bool WriteRoutes(const Owned& owned, const membership::View& view, HeadEdits* edits) const;

 private:
  // An id as it travels: the application's, and what follows it.
  struct Parts {
    absl::string_view id;
    absl::string_view routes;
    absl::string_view tail;
  };
  Parts Split(absl::string_view value) const;
  // The id that the application knows; lies in `value` or in `room`, of which it takes its part.
  absl::string_view Derive(absl::string_view value, char* room, size_t room_size,
                           size_t* used) const;
  void AddIds(const RequestHead& head, IdPlace place, RequestAffinity* out) const;
  void AddId(absl::string_view value, IdPlace place, RequestAffinity* out) const;
  bool SoapComesBefore(IdPlace place) const;
  bool WriteSeal(const Owned& owned, membership::NodeId self, HeadEdits* edits) const;
  void EndCookie(std::string* lines) const;
  bool WritesSuffix() const;
  bool TakesRoutes(absl::string_view id) const;
  // ".n1.n2", or ".n1"; empty if this node has no name.
  void AppendRoutes(store::SessionKey key, const membership::View& view, std::string* out) const;

  const AffinityFormat format_;
  const std::vector<IdPlace> places_;
  const IdForm form_;
  const std::string cookie_;
  const std::string path_mark_;   // ";jsessionid="
  const std::string query_mark_;  // "sid="
  const std::string header_, route_cookie_, sealed_cookie_, cookie_attributes_;
  const RoutesBy routes_by_;
  const char delimiter_;
  const size_t routes_max_;
  const int copies_;
  const bool from_header_, from_path_, from_soap_, learn_socketio_;
  const size_t body_bytes_max_;
};

}  // namespace roost::proxy
