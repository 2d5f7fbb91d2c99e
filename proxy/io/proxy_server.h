// ProxyServer is the whole data path of a node: one ProxyLoop per core behind the listening ports
// for clients (HTTP, and HTTPS where configured) and for requests that peers forward.
//
// Owner: sidecar. Thread: any, one call at a time, but SetView and StartDraining, which may be
// called from several.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "membership/address.h"
#include "membership/view.h"
#include "proxy/core/explain.h"
#include "proxy/io/proxy_loop.h"
#include "proxy/observer.h"
#include "proxy/options.h"

namespace roost::proxy {

class ProxyServer {
 public:
  // `store` outlives the server; after Stop its late answers are dropped.
  using Dependencies = ProxyDependencies;

  // Binds both listeners; port 0 takes a free one. Errors name the option and the address.
  // REQUIRES: options.Validate().ok().
  static absl::StatusOr<std::unique_ptr<ProxyServer>> Create(const Options& options,
                                                             Dependencies dependencies);
  ~ProxyServer();
  ProxyServer(const ProxyServer&) = delete;
  ProxyServer& operator=(const ProxyServer&) = delete;

  void Start();
  // Until the first view this node is alone.
  void SetView(membership::ViewPtr view);
  // From now on answers say "Connection: close"; the listeners go on accepting until Stop.
  void StartDraining();
  // Finishes the requests under way, at most for 5 s, then closes what is left. Idempotent.
  void Stop();

  // With the ports that were really bound.
  membership::Address listen_address() const { return listen_address_; }
  membership::Address forward_address() const { return forward_address_; }
  // Nothing without TLS.
  std::optional<membership::Address> tls_address() const { return tls_address_; }
  // Replaces Dependencies::keys. Any thread. REQUIRES: not null.
  void SetKeys(const membership::KeyringPtr& keys);
  // The application takes requests, as far as this node knows. Any thread.
  bool app_up() const { return node_.app_watch.up(); }
  // How a request with this head would be routed by `view`. Any thread.
  absl::StatusOr<Explanation> ExplainRoute(absl::string_view head,
                                           const membership::View& view) const;
  // After the file was renamed. Any thread.
  void ReopenAccessLog();
  // Zeros without an access log. Any thread.
  AccessLogStats access_log() const;
  // Zeros without TLS. Any thread.
  CertificateStats certificates() const;
  // One block per loop; they live as long as the server.
  std::vector<const Counters*> counters() const;

 private:
  ProxyServer(const Options& options, Dependencies dependencies);
  absl::Status Bind();
  ProxyLoop::Keys DeriveKeys(const membership::KeyringPtr& keys) const;
  void SetTicketKeys(const membership::Keyring& keys);
  void SetSealKeys(SealKeysPtr keys);
  SealKeysPtr seal_keys() const;

  ProxyNode node_;
  membership::Address listen_address_;
  membership::Address forward_address_;
  std::optional<membership::Address> tls_address_;
  std::vector<std::unique_ptr<ProxyLoop>> loops_;
  mutable absl::Mutex seal_keys_mutex_;
  SealKeysPtr seal_keys_ ABSL_GUARDED_BY(seal_keys_mutex_);
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace roost::proxy
