// From the configuration to each module's own options.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "membership/keyring.h"
#include "membership/options.h"
#include "proto/config.pb.h"
#include "proxy/options.h"
#include "sidecar/peer_tls.h"
#include "store/options.h"

namespace roost::sidecar {

// REQUIRES of all: the configuration was loaded without errors.

// Identity is missing: NodeId, boot epoch and the ports that are known after binding are the
// node's to fill in.
membership::Options ToMembershipOptions(const config::v1::Config& config);
store::Options ToStoreOptions(const config::v1::Config& config);
std::set<std::string> FencedNamespaces(const config::v1::Config& config);
proxy::Options ToProxyOptions(const config::v1::Config& config);

// Empty paths if it is off.
TlsFiles ToTlsFiles(const config::v1::Config& config);

// What the modules themselves say about it, for `--check`: the first rule that was broken.
absl::Status CheckOptions(const config::v1::Config& config);

// What the files with secrets say that it names, for `--check`; the node asks again when it starts.
absl::Status CheckFiles(const config::v1::Config& config);

// Those that records on disk are encrypted with; null: they aren't. Errors name the field. Blocks
// on the disk.
absl::StatusOr<membership::KeyringPtr> LoadEncryptionKeys(const config::v1::Store& store);

// The address that peers are told to use: `cluster.advertise`, else the one of `cluster.listen`,
// else (wildcard) that of the interface that routes to the first seed. Without seeds, or if the
// first is an SRV name: of the default route, or loopback where there is none. UNAVAILABLE, naming
// cluster.advertise, if the first seed's name can't be resolved or nothing routes to it.
absl::StatusOr<membership::Address> AdvertisedAddress(const config::v1::Cluster& cluster,
                                                      uint16_t port);

}  // namespace roost::sidecar
